# Moved: python -m tools.export; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.export", run_name="__main__")
