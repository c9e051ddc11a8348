# Moved: python -m tools.explain; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.explain", run_name="__main__")
