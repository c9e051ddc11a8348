# Moved: python -m tools.audit; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.audit", run_name="__main__")
