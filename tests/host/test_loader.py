"""Mirrors modelbay/host/loader.py: real distributions in a folder, found and loaded."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import importlib_metadata
import pytest

from modelbay.host.loader import Installed, Plugin, load_plugins

PLUGIN = """
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable

@hookimpl
def capabilities():
    return CapabilityTable()

@hookimpl
async def discover_models(provider):
    return []

@hookimpl
async def stream_chat(provider, request, model):
    yield None

@hookimpl
def manage(action, provider):
    return None
"""


class Site:
    """A folder of distributions, first on the path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(
        self,
        dist: str,
        entry_points: dict[str, str],
        *,
        group: str = "modelbay",
        version: str = "1.0",
        folder: str | None = None,
        requires: str = "",
        **modules: str,
    ) -> Path:
        """Install a distribution: its metadata, and its modules by name."""
        info = self.path / f"{folder or dist}-{version}.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n{needs}"
        )
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
        for name, source in modules.items():
            (self.path / f"{name}.py").write_text(source)
        return info

    def load(self, *, wrappers: tuple[str, ...] = (), **env: str) -> Installed:
        def distributions() -> Iterator[importlib_metadata.Distribution]:
            yield from importlib_metadata.distributions(path=[str(self.path)])  # type: ignore[misc] # typed as a narrower protocol

        return load_plugins(env, wrappers=wrappers, distributions=distributions, clock=lambda: 0.0)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def states(found: Installed) -> dict[str, str]:
    return {plugin.kind: plugin.state for plugin in found.plugins}


def only(found: Installed) -> Plugin:
    [plugin] = found.plugins
    return plugin


def test_nothing_installed_is_nothing_found(site: Site) -> None:
    assert site.load() == Installed((), ())


def test_a_plugin_is_loaded_with_its_hooks_and_what_it_was_written_for(site: Site) -> None:
    extra = "\n@hookimpl\nasync def embed(provider, request, model):\n    return None\n"
    site.add(
        "modelbay-acme",
        {"acme": "mb_acme"},
        requires="modelbay_core (>=0.1,<2)",
        mb_acme=PLUGIN + extra,
    )

    plugin = only(site.load())

    assert plugin.manager is not None
    assert plugin == Plugin(
        kind="acme",
        dist="modelbay-acme",
        version="1.0",
        entry_point="mb_acme",
        state="ok",
        requires=">=0.1,<2",
        manager=plugin.manager,
        took_s=0.0,
        hooks=("capabilities", "discover_models", "stream_chat", "manage", "embed"),
    )


def test_plugins_stand_in_the_order_of_their_kinds(site: Site) -> None:
    site.add("zeta", {"alpha": "mb_a"}, mb_a=PLUGIN)
    site.add("alpha", {"zeta": "mb_z"}, mb_z=PLUGIN)

    assert list(states(site.load())) == ["alpha", "zeta"]


def test_every_plugin_has_a_manager_of_its_own(site: Site) -> None:
    site.add("one", {"one": "mb_a"}, mb_a=PLUGIN)
    site.add("two", {"two": "mb_b"}, mb_b=PLUGIN)

    first, second = site.load().plugins

    assert first.manager is not None
    assert second.manager is not None
    assert [len(m.get_plugins()) for m in (first.manager, second.manager)] == [1, 1]


BROKEN = [
    ("import nothing_like_this", "needs the module 'nothing_like_this', which is not installed"),
    ("def broken(:\n", "SyntaxError: "),
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    (
        PLUGIN.replace("stream_chat(provider, request, model)", "stream_chat(provider, requst)"),
        "requst",
    ),
    (PLUGIN + "\n@hookimpl\ndef stream_chats(provider):\n    pass\n", "stream_chats"),
    (PLUGIN.replace("@hookimpl\ndef manage", "def manage"), "plugin 'acme' lacks manage"),
    ("x = 1", "plugin 'acme' lacks capabilities, discover_models, stream_chat, manage"),
]


@pytest.mark.parametrize(("source", "reason"), BROKEN)
def test_a_broken_plugin_is_a_row_with_its_reason_and_a_hint(
    site: Site, source: str, reason: str
) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=source)
    site.add("modelbay-good", {"good": "mb_good"}, mb_good=PLUGIN)

    found = site.load()

    assert states(found) == {"acme": "broken", "good": "ok"}
    broken = found.plugins[0]
    assert broken.error is not None
    assert reason in str(broken.error)
    assert (broken.error.code, bool(broken.error.hint), broken.manager) == (
        "plugin_load_error",
        True,
        None,
    )


def test_an_entry_point_that_names_no_module_is_told_what_to_name(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme:Plugin"}, mb_acme="class Plugin: pass")

    plugin = only(site.load())

    assert (plugin.state, str(plugin.error)) == (
        "broken",
        "plugin 'acme' is type, not a module of functions",
    )


def test_a_missing_module_is_a_row(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "not_there"})

    assert states(site.load()) == {"acme": "broken"}


def test_a_keyboard_interrupt_that_nobody_pressed_is_the_plugins_fault(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme="raise KeyboardInterrupt")
    site.add("modelbay-good", {"good": "mb_good"}, mb_good=PLUGIN)

    found = site.load()

    assert states(found) == {"acme": "broken", "good": "ok"}
    reason = "plugin 'acme' cannot be imported: KeyboardInterrupt"
    assert str(found.plugins[0].error) == reason


def test_ctrl_c_while_a_plugin_is_imported_ends_the_loading(site: Site) -> None:
    source = "import signal\nsignal.raise_signal(signal.SIGINT)"
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=source)

    with pytest.raises(KeyboardInterrupt):
        site.load()


def test_a_thread_that_a_plugin_leaves_running_is_noted(site: Site) -> None:
    source = (
        "import threading\nGATE = threading.Event()\n"
        f"threading.Thread(target=GATE.wait, name='sampler').start()\n{PLUGIN}"
    )
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=source)

    plugin = only(site.load())
    sys.modules["mb_acme"].GATE.set()

    assert (plugin.state, plugin.threads) == ("ok", ("sampler",))


def test_other_names_of_one_module_are_spellings_of_one_kind(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme", "acme.cpp": "mb_acme"}, mb_acme=PLUGIN)

    plugin = only(site.load())

    assert (plugin.kind, plugin.aliases, plugin.state) == ("acme", ("acme.cpp",), "ok")


def test_of_two_distributions_with_one_kind_the_first_by_name_has_it(site: Site) -> None:
    site.add("Zeta", {"acme": "mb_z"}, mb_z="raise RuntimeError")
    site.add("alpha", {"acme": "mb_a"}, mb_a=PLUGIN)

    found = site.load()

    assert [(p.dist, p.state, str(p.error or "")) for p in found.plugins] == [
        ("alpha", "ok", ""),
        ("Zeta", "duplicate", "the kind 'acme' of Zeta is taken by alpha"),
    ]
    assert found.plugins[1].error is not None
    assert found.plugins[1].error.hint == "modelbay plugin uninstall Zeta"
    assert "mb_z" not in sys.modules


# Who has a kind that two sound distributions claim; the alphabet alone would say the other.
PRECEDENCE = [
    pytest.param({"modelbay-llama": ["llama"], "acme-llama": ["llama"]}, (), id="a stranger"),
    pytest.param({"modelbay-llama": ["llama"], "modelbay-aaa": ["llama"]}, (), id="named like us"),
    pytest.param(
        {"modelbay-llama": ["llama"], "modelbay-aaa": ["aaa", "llama"]}, (), id="as a spelling"
    ),
    pytest.param(
        {"modelbay-llamabay": ["llama-bay"], "modelbay-aaa": ["llama-bay"]}, (), id="without dash"
    ),
    pytest.param({"modelbay-zeta": ["llama"], "acme-llama": ["llama"]}, (), id="a name like ours"),
    pytest.param(
        {"modelbay-llamabay": ["llama-bay"], "modelbay-llama-bay": ["llama-bay"]},
        ("modelbay-llamabay==1",),
        id="a part of the whole",
    ),
    pytest.param(
        {"modelbay-zeta": ["llama"], "modelbay-llama": ["llama"]},
        ("modelbay-core>=0", "Modelbay_Zeta ; python_version > '3'"),
        id="a part with another name",
    ),
]


@pytest.mark.parametrize(("claims", "parts"), PRECEDENCE)
@pytest.mark.parametrize("turned", [False, True])
def test_a_stranger_takes_no_kind_from_its_owner_however_it_sorts(
    site: Site, claims: dict[str, list[str]], parts: tuple[str, ...], turned: bool
) -> None:
    owner, stranger = claims
    for dist in reversed(claims) if turned else claims:
        module = dist.replace("-", "_")
        points = {name: f"mb_{module}" for name in claims[dist]}
        site.add(dist, points, **{f"mb_{module}": PLUGIN})
    if parts:
        whole = site.add("modelbay", {}) / "METADATA"
        whole.write_text(whole.read_text() + "".join(f"Requires-Dist: {one}\n" for one in parts))
    site.add("modelbay-good", {"good": "mb_good"}, mb_good=PLUGIN)

    found = site.load()

    by_dist = {plugin.dist: plugin for plugin in found.plugins}
    assert {dist: plugin.state for dist, plugin in by_dist.items()} == {
        owner: "ok",
        stranger: "duplicate",
        "modelbay-good": "ok",
    }
    error = by_dist[stranger].error
    assert error is not None
    assert error.hint == f"modelbay plugin uninstall {stranger}"
    assert f"mb_{stranger.replace('-', '_')}" not in sys.modules


def test_a_stranger_has_a_kind_whose_owner_is_broken(site: Site) -> None:
    site.add("modelbay-llama", {"llama": "mb_llama"}, mb_llama="raise RuntimeError")
    site.add("zeta", {"llama": "mb_zeta"}, mb_zeta=PLUGIN)

    assert {p.dist: p.state for p in site.load().plugins} == {
        "modelbay-llama": "broken",
        "zeta": "ok",
    }


@pytest.mark.parametrize("requires", ["", "modelbay-core>=99"])
def test_one_that_cannot_be_loaded_takes_no_kind_from_one_that_can(
    site: Site, requires: str
) -> None:
    site.add("alpha", {"acme": "mb_a"}, requires=requires, mb_a="raise RuntimeError")
    site.add("Zeta", {"acme": "mb_z"}, mb_z=PLUGIN)

    found = site.load()

    state = "duplicate" if requires else "broken"
    assert {p.dist: p.state for p in found.plugins} == {"alpha": state, "Zeta": "ok"}
    left = [p.dist for p in found.plugins if p.state != "duplicate"]
    assert left[-1] == "Zeta"


def test_one_that_is_not_for_this_core_is_not_imported_even_when_it_is_alone(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, requires="modelbay-core<0.0.1", mb_acme="1/0")

    plugin = only(site.load())

    assert (plugin.state, plugin.requires) == ("incompatible", "<0.0.1")
    assert "is too old" in str(plugin.error)
    assert "mb_acme" not in sys.modules


def test_one_that_is_switched_off_is_disabled_whatever_its_range(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, requires="modelbay-core<0.0.1", mb_acme="1/0")

    assert states(site.load(MODELBAY_DISABLE="acme")) == {"acme": "disabled"}


def test_the_time_an_import_takes_is_known(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=PLUGIN)
    times = [10.0, 13.0]

    def distributions() -> Iterator[importlib_metadata.Distribution]:
        yield from importlib_metadata.distributions(path=[str(site.path)])  # type: ignore[misc] # typed as a narrower protocol

    plugin = only(load_plugins({}, distributions=distributions, clock=lambda: times.pop(0)))

    assert (plugin.state, plugin.took_s) == ("ok", 3.0)


def test_what_a_plugin_prints_when_it_is_imported_is_noted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=f"print('hello')\n{PLUGIN}")

    plugin = only(site.load())

    assert (plugin.state, plugin.printed) == ("ok", True)
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("names", ["acme", "acme.cpp", "other, acme ,", "acme,acme"])
def test_a_plugin_that_is_switched_off_is_not_imported(site: Site, names: str) -> None:
    entry_points = {"acme": "mb_acme", "acme.cpp": "mb_acme"}
    site.add("modelbay-acme", entry_points, mb_acme="raise RuntimeError('imported')")

    plugin = only(site.load(MODELBAY_DISABLE=names))

    assert (plugin.state, plugin.error, plugin.manager) == ("disabled", None, None)
    assert "mb_acme" not in sys.modules


def test_without_the_variable_nothing_is_switched_off(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=PLUGIN)

    assert states(site.load(MODELBAY_DISABLE="")) == {"acme": "ok"}


def no_metadata(info: Path) -> None:
    (info / "METADATA").unlink()


def no_name(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 1\n")


def no_text(info: Path) -> None:
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[modelbay]")


def no_entry_points(info: Path) -> None:
    (info / "entry_points.txt").write_text("[modelbay]\nthis is no entry point\n")


@pytest.mark.parametrize("damage", [no_metadata, no_text, no_entry_points])
def test_a_damaged_distribution_is_a_row_and_the_others_still_load(
    site: Site, damage: Callable[[Path], None]
) -> None:
    damage(site.add("broken", {"broken": "mb_broken"}))
    site.add("modelbay-good", {"good": "mb_good"}, mb_good=PLUGIN)

    found = site.load()

    assert states(found) == {"good": "ok"}
    [(where, why)] = found.damaged
    assert str(site.path) in where
    assert why


def test_a_distribution_without_a_name_does_not_hide_the_others(site: Site) -> None:
    no_name(site.add("broken", {"broken": "mb_broken"}))
    site.add("modelbay-good", {"good": "mb_good"}, mb_good=PLUGIN)

    assert states(site.load())["good"] == "ok"


def test_what_pip_left_behind_is_skipped(site: Site) -> None:
    site.add("~odelbay-acme", {"acme": "mb_old"}, folder="~odelbay_acme", mb_old="raise OSError")

    assert site.load() == Installed((), ())


def test_of_a_name_that_is_installed_twice_the_first_on_the_path_counts(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    older = Site(tmp_path_factory.mktemp("older"))
    site.add("Modelbay_Acme", {"acme": "mb_acme"}, version="2.0", mb_acme=PLUGIN)
    older.add("modelbay-acme", {"acme": "mb_acme"}, version="1.0")

    def distributions() -> Iterator[importlib_metadata.Distribution]:
        yield from importlib_metadata.distributions(path=[str(site.path), str(older.path)])  # type: ignore[misc] # typed as a narrower protocol

    found = load_plugins({}, distributions=distributions)

    assert [(p.dist, p.version, p.state) for p in found.plugins] == [("Modelbay_Acme", "2.0", "ok")]


# --- wrappers -------------------------------------------------------------------------------------

WRAPPER = """
from modelbay.hookspecs import hookimpl
calls = []

@hookimpl(wrapper=True)
def stream_chat(provider, request, model):
    calls.append("before")
    answer = yield
    calls.append("after")
    return answer
"""


def wrapped(site: Site, wrapper: str = WRAPPER) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=PLUGIN)
    site.add("modelbay-trace", {"trace": "mb_trace"}, group="modelbay.wrappers", mb_trace=wrapper)


def test_a_wrapper_is_off_and_not_imported_unless_it_is_named(site: Site) -> None:
    wrapped(site)

    plugin = only(site.load())

    assert plugin.manager is not None
    assert len(plugin.manager.get_plugins()) == 1
    assert "mb_trace" not in sys.modules


def test_a_wrapper_that_is_named_stands_around_every_call(site: Site) -> None:
    wrapped(site)

    plugin = only(site.load(wrappers=("trace",)))

    assert plugin.manager is not None
    answer = plugin.manager.hook.stream_chat(provider=None, request=None, model=None)
    assert sys.modules["mb_trace"].calls == ["before", "after"]
    assert hasattr(answer, "__aiter__")


def test_the_first_wrapper_that_is_named_stands_outside(site: Site) -> None:
    wrapped(site, WRAPPER.replace("calls = []", "from mb_order import calls"))
    (site.path / "mb_order.py").write_text("calls = []\n")
    inner = WRAPPER.replace("calls = []", "from mb_order import calls")
    inner = inner.replace("before", "inner before").replace("after", "inner after")
    site.add("modelbay-inner", {"inner": "mb_inner"}, group="modelbay.wrappers", mb_inner=inner)

    plugin = only(site.load(wrappers=("trace", "inner")))

    assert plugin.manager is not None
    plugin.manager.hook.stream_chat(provider=None, request=None, model=None)
    assert sys.modules["mb_order"].calls == ["before", "inner before", "inner after", "after"]


def test_a_wrapper_alone_does_not_make_a_plugin_whole(site: Site) -> None:
    wrapped(site)
    site.add(
        "half",
        {"half": "mb_half"},
        mb_half=PLUGIN.replace("@hookimpl\nasync def stream", "async def stream"),
    )

    found = site.load(wrappers=("trace",))

    assert states(found) == {"acme": "ok", "half": "broken"}


def test_a_wrapper_that_is_named_and_not_installed_is_a_row(site: Site) -> None:
    site.add("modelbay-acme", {"acme": "mb_acme"}, mb_acme=PLUGIN)

    found = site.load(wrappers=("trace", "audit"))

    assert states(found) == {"acme": "ok"}
    assert found.damaged == (
        ("audit", "this wrapper is switched on and not installed"),
        ("trace", "this wrapper is switched on and not installed"),
    )


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('no licence')", WRAPPER.replace("request", "requst")]
)
def test_a_broken_wrapper_is_not_blamed_on_the_plugin(site: Site, source: str) -> None:
    wrapped(site, source)

    found = site.load(wrappers=("trace",))

    told = [
        *found.damaged,
        *((p.kind, f"{p.error} {p.error.hint}") for p in found.plugins if p.error),
    ]
    assert told, "somebody must hear of it"
    for _, text in told:
        assert "trace" in text or "trace" in str(found.damaged)
        assert "reinstall modelbay-acme" not in text


def test_the_installed_environment_can_be_read() -> None:
    found = load_plugins({"MODELBAY_DISABLE": ""})

    assert [
        p
        for p in found.plugins
        if p.state not in ("ok", "disabled", "broken", "duplicate", "incompatible")
    ] == []
