"""A stand-in `tensorrt` module built from a surface in surface/: same names, same signatures, no GPU.

    trt = strict_fake.load("surface/11.4.0.106.json", behave={"ICudaEngine.num_io_tensors": 2, ...})
    sys.modules["tensorrt"] = trt

A surface is what the bindings' wheel of that version really has of the classes that bvx touches, read off by importing
it over stub libraries.

Anything that the real bindings lack raises AttributeError; a call whose count, keywords or types match no real
overload raises TypeError, as pybind11 does. Results come from `behave` (a value, or a function called with the
object and the bound arguments), else from the declared return type (True, 0, "", [], a fake object). Every call and
every property write is kept in `trt.calls` as (name, arguments).
"""

from __future__ import annotations

import json
import re
import types
from pathlib import Path

NUMBERS = {"int": int, "float": (int, float), "bool": bool, "str": str, "bytes": bytes}


class Enum:
    """Like a pybind11 enum: int(x) and x.name work; no arithmetic, no order, no x == 0, no iteration, no E["X"]."""

    def __init__(self, value):
        self.value, self.name = value, next((n for n, m in type(self).__members__.items() if m.value == value), "???")

    def __int__(self):
        return self.value

    __index__ = __hash__ = __int__

    def __eq__(self, other):
        return type(other) is type(self) and other.value == self.value

    def __repr__(self):
        return f"<{type(self).__name__}.{self.name}: {self.value}>"


def make_enum(name, members):
    cls = type(name, (Enum,), {"__members__": {}})
    for member, value in members.items():
        cls.__members__[member] = instance = cls(value)
        instance.name = member
        setattr(cls, member, instance)
    return cls


def load(path, behave=None):
    surface = json.loads(Path(path).read_text())
    module = types.ModuleType("tensorrt")
    module.__version__, module.calls, behave = surface["version"], [], dict(behave or {})

    def short(text):  # "tensorrt_bindings.tensorrt.Dims", "nvinfer1::ICudaEngine" -> the bare class name
        return re.split(r"[.:]", text.strip())[-1]

    def fits(value, text):
        text = text.strip()
        if "|" in text and "[" not in text:
            return any(fits(value, part) for part in text.split("|"))
        name = short(text)
        if name in ("SupportsInt", "SupportsIndex") or text in ("int", "size_t"):
            return hasattr(value, "__int__") and not isinstance(value, (str, float, Enum))
        if name in ("SupportsFloat",) or text == "float":
            return hasattr(value, "__float__")
        if text in NUMBERS:
            return isinstance(value, NUMBERS[text])
        if name in ("Buffer", "buffer"):
            return isinstance(value, (bytes, bytearray, memoryview)) or type(value).__name__ == "IHostMemory"
        if name in ("Dims", "Permutation") and isinstance(value, (tuple, list)):  # implicit conversions
            return all(hasattr(v, "__int__") for v in value)
        if name == "Weights" and type(value).__module__ == "numpy":
            return True
        if name in ("tuple", "list", "dict"):
            return type(value).__name__ == name
        if "Sequence[" in text or text.startswith(("List[", "list[")):
            inner = text[text.index("[") + 1 : -1]
            return isinstance(value, (list, tuple)) and all(fits(v, inner) for v in value)
        cls = getattr(module, name, None)
        if isinstance(cls, type):
            return isinstance(value, cls) or (value is None and not issubclass(cls, Enum))
        return True  # object, capsule and the C++ types that pybind11 could not name

    def bind(where, overloads, args, kwargs):
        for overload in overloads:
            names = [a["name"] for a in overload["args"]]
            if len(args) > len(names) or set(kwargs) - set(names):
                continue
            if any(n.startswith("arg") and n[3:].isdigit() and n in kwargs for n in names):
                continue  # arg0, arg1: positional only
            given = dict(zip(names, args, strict=False))
            if set(given) & set(kwargs):
                continue
            given |= kwargs
            if all(a["name"] in given or "default" in a for a in overload["args"]) and all(
                fits(given[a["name"]], a["type"]) or (given[a["name"]] is None and a.get("default") == "None")
                for a in overload["args"]
                if a["name"] in given
            ):
                return given, overload
        raise TypeError(
            f"{where}(): incompatible function arguments {args} {kwargs}; supported:\n"
            + "\n".join(str(o["args"]) for o in overloads)
        )

    def result(where, owner, given, text):
        if where in behave:
            return behave[where](owner, **given) if callable(behave[where]) else behave[where]
        name = short(text or "None")
        cls = getattr(module, name, None)
        if isinstance(cls, type) and not issubclass(cls, Enum):
            return cls.__new__(cls)
        if isinstance(cls, type):
            return next(iter(cls.__members__.values()), None)
        return {"bool": True, "int": 0, "float": 0.0, "str": ""}.get(name, [] if "ist[" in (text or "") else None)

    def method(where, overloads):
        def call(self, *args, **kwargs):
            given, overload = bind(where, overloads, args, kwargs)
            module.calls.append((where, given))
            return result(where, self, given, overload["returns"])

        return call

    def make_property(where, entry):
        def get(self):
            if not entry["gettable"]:
                raise AttributeError(f"unreadable attribute {where}")
            return self.__dict__.get(where, result(where, self, {}, entry["type"]))

        def set_(self, value):
            if not entry["settable"]:
                raise AttributeError(f"can't set attribute {where}")
            if entry["set_type"] and not fits(value, entry["set_type"]):
                raise TypeError(f"{where}: {value!r} is no {entry['set_type']}")
            module.calls.append((where, value))
            self.__dict__[where] = value

        return property(get, set_)

    def refuse(where):
        def set_(self, key, value):
            if not any(key in vars(k) for k in type(self).__mro__):
                raise AttributeError(f"{where} has no attribute {key!r}")
            object.__setattr__(self, key, value)

        return set_

    for name, members in surface["enums"].items():
        if "." not in name:
            setattr(module, name, make_enum(name, members))
    pending = dict(surface["classes"])
    while pending:  # bases first
        for name, entry in list(pending.items()):
            bases = [b for b in entry["bases"] if b in surface["classes"]]
            if "." in name or all(hasattr(module, b) for b in bases):
                pending.pop(name)
                if "." in name:
                    continue
                body = {m: method(f"{name}.{m}", s) for m, s in entry["methods"].items() if s}
                body |= {p: make_property(f"{name}.{p}", e) for p, e in entry["properties"].items()}
                init = entry["init"]

                def construct(self, *args, _where=name, _init=init, **kwargs):
                    if not _init:
                        raise TypeError(f"{_where}: No constructor defined!")
                    module.calls.append((_where, bind(_where, _init, args, kwargs)[0]))

                body |= {"__init__": construct, "__setattr__": refuse(name)}
                body.pop("__enter__", None)
                if name == "IHostMemory":
                    body["__bytes__"] = lambda self: behave.get("plan", b"fake plan")
                setattr(module, name, type(name, tuple(getattr(module, b) for b in bases), body))
    for name, members in surface["enums"].items():  # nested: Logger.Severity and Logger.WARNING
        outer, _, inner = name.partition(".")
        if inner and hasattr(module, outer):
            severity = make_enum(inner, members)
            setattr(getattr(module, outer), inner, severity)
            for member in severity.__members__.values():
                setattr(getattr(module, outer), member.name, member)
    for name, overloads in surface["functions"].items():
        if overloads:
            setattr(
                module,
                name,
                lambda *a, _w=name, _o=overloads, **k: result(_w, None, bind(_w, _o, a, k)[0], _o[0]["returns"]),
            )
    for name, value in (
        ("float32", "FLOAT"),
        ("float16", "HALF"),
        ("int8", "INT8"),
        ("int32", "INT32"),
        ("int64", "INT64"),
        ("bfloat16", "BF16"),
        ("fp8", "FP8"),
        ("bool", "BOOL"),
    ):
        if value in module.DataType.__members__:
            setattr(module, name, getattr(module.DataType, value))
    return module
