# Moved: python -m tools.tune_decoding; this spelling goes with the next release.
import runpy

if __name__ == "__main__":
    runpy.run_module("tools.tune_decoding", run_name="__main__")
