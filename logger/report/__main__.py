# Moved: python -m tools.report; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.report", run_name="__main__")
