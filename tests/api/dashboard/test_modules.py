"""The dashboard's modules import each other without a circle: each can be read on its own."""

from __future__ import annotations

import re
from pathlib import Path

import api.dashboard.files

STATIC = Path(api.dashboard.files.__file__).parent / "static"
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
"""Comments name types of other modules (`import("./x.js").Y`), which loads nothing."""
IMPORT = re.compile(
    r"""^(?:import|export)\s[^;"]*?from\s*"(\.[^"]+)"|^import\s*"(\.[^"]+)"|import\("(\.[^"]+)"\)""",
    re.MULTILINE,
)


def imports_of(folder: Path) -> dict[Path, set[Path]]:
    """What each module imports, now or later."""
    found = {}
    for path in folder.rglob("*.js"):
        code = COMMENT.sub("", path.read_text(encoding="utf-8"))
        names = (name for match in IMPORT.finditer(code) for name in match.groups() if name)
        found[path.resolve()] = {(path.parent / name).resolve() for name in names}
    return found


def circle_in(imports: dict[Path, set[Path]]) -> list[Path]:
    """Modules of a circle, the first of them once more at the end; empty where there is none."""
    done: set[Path] = set()

    def walk(module: Path, way: list[Path]) -> list[Path]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for each in sorted(imports.get(module, ())):
            if found := walk(each, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for each in sorted(imports) if (found := walk(each, []))), [])


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = imports_of(STATIC)
    named = {each for all_of_one in imports.values() for each in all_of_one}
    assert named <= set(imports), "every import is of a module that is there"
    # All but the two that the page itself loads are imported by another: none was overlooked.
    assert {path.name for path in set(imports) - named} == {"app.js", "theme.js"}
    assert [path.name for path in circle_in(imports)] == []


def test_a_circle_is_seen(tmp_path: Path) -> None:
    modules = {
        "app.js": 'import { a } from "./core/a.js";\n',
        "core/a.js": '/** {import("../app.js").X} */\nimport {\n  b,\n} from "./b.js";\n',
        "core/b.js": 'export { c } from "../c.js";\n',
        "c.js": 'export const later = () => import("./core/a.js");\n',
    }
    (tmp_path / "core").mkdir()
    for name, text in modules.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert [path.name for path in circle_in(imports_of(tmp_path))] == [
        "a.js",
        "b.js",
        "c.js",
        "a.js",
    ]
    (tmp_path / "c.js").write_text("export const c = 1;\n", encoding="utf-8")
    assert circle_in(imports_of(tmp_path)) == []
