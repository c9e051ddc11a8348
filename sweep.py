# Moved: python -m tools.sweep; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.sweep", run_name="__main__")
