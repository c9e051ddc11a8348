# Moved: python -m tools.explore; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.explore", run_name="__main__")
