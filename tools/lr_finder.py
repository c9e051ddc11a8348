"""Find a learning rate: train for a moment with one that rises, and see where the loss falls.

    python -m tools.lr_finder --config config.json
    python -m tools.lr_finder -c config.json --set optimizer.type=SGD --steps 200

From step to step the rate grows by the same factor. Far too low, nothing is learned; far too high,
the loss explodes; in between is where it falls the steepest, and that is the proposal. It is a
place to start from with this model, optimizer, data and batch size, also for the highest rate of a
one-cycle schedule; the validation has the last word. Nothing is saved but the curve and its values,
in saved/log/<name>/<run_id>/.
"""

from collections.abc import Sequence

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading
from utils.errors import UserError

FEWEST_STEPS = 20


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=100, help="batches to train on (100)")
    parser.add_argument("--lowest", type=float, default=1e-6, metavar="RATE", help="first (1e-6)")
    parser.add_argument("--highest", type=float, default=1.0, metavar="RATE", help="last (1.0)")
    # The session looks for it, which train.py has an option for.
    parser.set_defaults(init_from=None)
    config = ConfigParser.from_args(parser, argv=argv)
    steps, lowest, highest = config.args.steps, config.args.lowest, config.args.highest
    if steps < FEWEST_STEPS or not 0 < lowest < highest:
        raise UserError(
            f"--steps must be {FEWEST_STEPS} or more, and 0 < --lowest < --highest; got"
            f" {steps}, {lowest:g} and {highest:g}"
        )
    # Each update is to be one batch at the rate of this moment, measured before any average.
    plain = dict.fromkeys(("lr_scheduler", "trainer.effective_batch", "trainer.ema_decay"))
    plain |= {"trainer.accumulate": 1}
    say_loading()
    from trainer import lr_range  # torch and the rest take seconds, which --help spares

    rates = lr_range.geometric(lowest, highest, steps)
    lr_range.find(config.variant(plain, config.run_id, "tools.lr_finder"), rates)


if __name__ == "__main__":
    run_command(main)
