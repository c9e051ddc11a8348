"""Answer photos over HTTP.

    python -m tools.serve --resume saved/models/Mask_Base/<run_id>/best_epoch.pth
    curl --data-binary @photo.jpg http://127.0.0.1:8000/answer

Several checkpoints after --resume, or a folder of folds, are averaged. It listens on this machine
alone unless --host says otherwise, knows no passwords and no https: between it and the outside
belongs a server that does. Photos are answered one after the other and kept nowhere.
"""

from collections.abc import Sequence

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading
from utils.config_options import DECODING


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_line(__doc__)
    add = parser.add_argument
    add("-r", "--resume", nargs="+", required=True, metavar="CHECKPOINT", help="trained model")
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (8000)")
    add("--language", default="en", help="of the words: en, or ko where it has them")
    config = ConfigParser.from_args(parser, (DECODING,), argv=argv)
    args = config.args
    say_loading()
    from trainer import serving  # torch and the rest take seconds, which --help spares

    serving.serve(config, args.host, args.port, args.language)


if __name__ == "__main__":
    run_command(main)
