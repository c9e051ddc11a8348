# Moved: python -m tools.sample; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.sample", run_name="__main__")
