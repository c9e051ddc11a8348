"""Finding a class or function by name, and checking that it takes the arguments it is to get."""

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from types import ModuleType
from typing import Any

from utils.errors import ConfigError, nearest


def find(module: ModuleType, name: str, where: str) -> Callable[..., Any]:
    """The public class or function ``name`` of ``module``.

    Args:
        module: has what is in its ``__all__``, or else the public things that it defines itself;
            ``NOT_OFFERED`` (name → why not) and ``LIBRARIES`` (whence) are for the message.
        name: of the class or function.
        where: what the error calls the place that asked for ``name``.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    names = sorted(key for key, value in vars(module).items() if _offers(module, key, value))
    if name not in names:
        if reason := getattr(module, "NOT_OFFERED", {}).get(name):
            raise ConfigError(f"{where}: {name!r} can't work here: {reason}")
        place = getattr(module, "LIBRARIES", module.__name__)
        raise ConfigError(f"{where}: no {name!r} in {place}{nearest(name, names)}")
    return getattr(module, name)


def classes_in(module: ModuleType, base: type, without: Container[str] = ()) -> dict[str, type]:
    """Name → class, of those in ``module`` that are a kind of ``base`` but not ``base`` itself, nor
    named in ``without``.
    """
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
        if name not in without
    }


def check_arguments(
    target: Callable[..., Any],
    given: Mapping[str, Any],
    where: Callable[[str], str],
    positional: Sequence[Any] = (),
    keywords: Mapping[str, Any] | None = None,
    complete: bool = True,
) -> None:
    """Compare arguments with the signature of ``target``, where it has one.

    Args:
        target: a class or function.
        given: arguments that the user chose.
        where: what the error calls an argument, from its name.
        positional: arguments that are set automatically, in front.
        keywords: arguments that are set automatically, by name.
        complete: whether a required argument may not be missing.

    Raises:
        ConfigError: an argument that ``target`` does not take, that is set automatically, or that
            is missing.
    """
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # some builtins tell nothing
        return
    keywords = keywords or {}
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # What is set automatically may not be given again: Python would raise, in words about our code.
    taken = {*places[: len(positional)], *keywords}
    name = getattr(target, "__name__", str(target))
    free = [p.name for p in parameters if p.name not in taken and not _variable(p)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in given:
        if key in taken:
            raise ConfigError(f"{where(key)}: set automatically; remove it")
        if key not in free and not open_ended:
            raise ConfigError(f"{where(key)}: {name} takes no such argument{nearest(key, free)}")
    required = [p.name for p in parameters if p.default is p.empty and p.name in free]
    for key in required if complete else ():
        if key not in given:
            raise ConfigError(f"{where(key)}: missing; {name} needs it")


def _offers(module: ModuleType, name: str, value: Any) -> bool:
    if hasattr(module, "__all__"):
        return name in module.__all__ and callable(value)
    # With the dot, or model.loss would also offer what it imports from model.loss_extras.
    own = f"{getattr(value, '__module__', '')}.".startswith(f"{module.__name__}.")
    return (
        not name.startswith("_") and own and (inspect.isclass(value) or inspect.isfunction(value))
    )


def _variable(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
