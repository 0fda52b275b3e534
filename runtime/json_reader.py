"""Untrusted JSON, read one typed value at a time; every error names the place where the value stands."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import BundleError

__all__ = ["JsonValue", "parse_json"]

_REQUIRED: Any = object()


def parse_json(text: str, what: str) -> JsonValue:
    """The document in `text`; `what` names it in errors. Raises BundleError when it is not plain, finite JSON."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        _refuse(f"{what} is nested too deeply to be one that bvx wrote.")
    except ValueError as error:
        _refuse(f"{what} is not valid JSON ({error}).")
    return JsonValue(value, what)


@dataclass(frozen=True)
class JsonValue:
    """One JSON value and where it stands, such as `bvx.json: variants[0].file`."""

    value: Any
    where: str

    def get(self, name: str, default: Any = _REQUIRED) -> JsonValue:
        """The field `name` of this object, or `default` (a JSON value) where it is absent."""
        fields = self._expect(dict, "an object")
        if name not in fields and default is _REQUIRED:
            _refuse(f"{self.where} has no field {name!r}.")
        return JsonValue(fields.get(name, default), self._place(name))

    def text(self) -> str:
        text: str = self._expect(str, "a text")
        if not _encodable(text):
            _refuse(f"{self.where} is not valid Unicode.")
        return text

    def optional_text(self) -> str | None:
        return None if self.value is None else self.text()

    def one_of(self, *choices: str) -> str:
        if self.value not in choices:
            _refuse(f"{self.where} is {_show(self.value)}; wanted one of {', '.join(choices)}.")
        return self.text()

    def flag(self) -> bool:
        flag: bool = self._expect(bool, "true or false")
        return flag

    def integer(self, least: int = 0) -> int:
        number: int = self._expect(int, "a whole number")
        if number < least:
            _refuse(f"{self.where} is {_show(number)}; wanted at least {least}.")
        return number

    def number(self) -> float:
        if type(self.value) not in (int, float):
            _refuse(f"{self.where} is {_show(self.value)}; wanted a number.")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            _refuse(f"{self.where} is {_show(self.value)}; wanted a finite number.")
        return number

    def items(self) -> tuple[JsonValue, ...]:
        items = self._expect(list, "a list")
        return tuple(JsonValue(item, f"{self.where}[{index}]") for index, item in enumerate(items))

    def fields(self) -> dict[str, JsonValue]:
        return {name: JsonValue(value, self._place(name)) for name, value in self.plain().items()}

    def texts(self) -> dict[str, str]:
        return {name: value.text() for name, value in self.fields().items()}

    def plain(self) -> dict[str, Any]:
        """This object as json.loads gives it, for fields whose content is free."""
        fields: dict[str, Any] = self._expect(dict, "an object")
        for name in fields:
            if not _encodable(name):
                _refuse(f"{self.where} has a key that is not valid Unicode.")
        return fields

    def _expect(self, kind: type, wanted: str) -> Any:
        # `type(...) is`: True must not pass for the number 1.
        if type(self.value) is not kind:
            _refuse(f"{self.where} is {_show(self.value)}; wanted {wanted}.")
        return self.value

    def _place(self, name: str) -> str:
        short = name if len(name) <= 40 else f"{name[:40]}…"
        return f"{self.where}{'.' if ': ' in self.where else ': '}{short}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers that each take another one of two equal keys would see two different bundles.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 10**18:
        return "a huge number"
    try:
        text = json.dumps(value)
    except ValueError:
        return "a value that is not JSON"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _refuse(cause: str) -> NoReturn:
    raise BundleError(cause, "The file is damaged or was edited: copy or export the bundle again.")
