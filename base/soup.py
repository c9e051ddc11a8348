# Moved: python -m tools.soup; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.soup", run_name="__main__")
