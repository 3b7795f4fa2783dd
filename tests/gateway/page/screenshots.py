"""Makes docs/images: ``PYTHONPATH=tests python tests/gateway/page/screenshots.py FOLDER``."""

import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
from playwright.sync_api import Browser, Page, sync_playwright

import pretend
from gateway.page.bench import CHROMIUM, serve_page
from modelbay_llamacpp.simulator import LlamaCppSimulator
from modelbay_llamacpp.simulator import SimulatedModel as LlamaModel
from modelbay_llamaswap.simulator import LlamaSwapSimulator
from modelbay_llamaswap.simulator import SimulatedModel as SwapModel
from modelbay_ollama.simulator import OllamaSimulator
from modelbay_ollama.simulator import SimulatedModel as OllamaModel

SIZES = ((1600, 880), (1024, 768), (390, 844))
QUESTION = "How do I find the longest line of a file that does not fit into memory?"
ANSWER = """Use a **generator**: it keeps one line in memory at a time.

```python
def longest(path):
    with open(path) as lines:
        return max(lines, key=len)  # one line at a time
```

| file | before | now |
|---|---:|---:|
| 1 GB | 1.1 GB | 4 MB |
| 10 GB | no memory left | 4 MB |

1. Lines that are *very* long still take their own size.
2. For bytes instead of text, open it with `"rb"`.
"""
SHORT = "Read it **line by line** and keep the longest one:\n\n```sh\nwc -L big.txt\n```\n"


def main(folder: Path) -> None:
    with ExitStack() as stack:
        ollama = OllamaSimulator(
            [
                OllamaModel(
                    "qwen3:8b",
                    answer=ANSWER,
                    thinking="They want little memory. Reading lazily does that. ",
                    capabilities=("completion", "tools", "thinking"),
                    token_delay_s=0.02,
                ),
                OllamaModel(
                    "gemma3:4b", capabilities=("completion", "vision"), size_bytes=3_338_801_804
                ),
                OllamaModel("llama3.2:3b", size_bytes=2_019_393_189),
                OllamaModel(
                    "nomic-embed-text:latest",
                    capabilities=("embedding",),
                    size_bytes=274_302_450,
                    trained_ctx=2048,
                ),
            ]
        )
        swap = LlamaSwapSimulator(
            [
                SwapModel("gpt-oss-20b", load_s=float("inf")),
                SwapModel("qwen3-coder-30b", answer=SHORT),
            ]
        )
        tiny = LlamaCppSimulator(
            [LlamaModel("ministral-3b", answer=SHORT, vision=True, n_ctx=32768)], mode="router"
        )
        for server in (ollama, swap, tiny):
            stack.enter_context(server)
        providers = [
            pretend.config(
                "sam-desktop", "llama-swap", label="Sam's desktop", baseUrl=swap.base_url
            ),
            pretend.config("laptop", "ollama", label="Laptop", baseUrl=ollama.base_url),
            pretend.config("router", "llamacpp", label="Router", baseUrl=tiny.base_url),
        ]
        served = stack.enter_context(serve_page(providers))
        api = stack.enter_context(httpx.Client(base_url=served.base_url, timeout=30))
        favourites = ["laptop/qwen3:8b", "sam-desktop/qwen3-coder-30b", "attic/llama4"]
        api.put("/api/settings", json={"favorite_models": favourites})
        for title in ("Plan a weekend in Rome", "Why is the sky blue?", "Sort by two keys"):
            api.post("/conversations", json={"title": title})
        load = {"action": "load", "model": "qwen3:8b"}
        api.post("/api/providers/laptop/manage", json=load).read()

        def wait_for_load() -> None:
            load = {"action": "load", "model": "gpt-oss-20b"}
            httpx.post(
                f"{served.base_url}/api/providers/sam-desktop/manage", json=load, timeout=None
            )

        loading = threading.Thread(target=wait_for_load)
        loading.start()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        first_turn(browser, served.base_url)
        for width, height in SIZES:
            for scheme in ("light", "dark"):
                shots(browser, served.base_url, folder, width, height, scheme)
        browser.close()
        swap.finish_load("gpt-oss-20b")
        loading.join()


def first_turn(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1600, "height": 960})
    page.goto(url)
    page.locator('.row.model[data-id="laptop/qwen3:8b"] .name').last.click()
    ask(page, QUESTION)
    page.get_by_role("button", name="New conversation").click()
    page.locator('.row.model[data-id="router/ministral-3b"] .name').click()
    more = page.get_by_role("button", name="More about laptop/qwen3:8b").last
    more.click()
    page.get_by_role("menuitem", name="Answer side by side").click()
    ask(page, "And in the shell?")
    page.close()


def ask(page: Page, text: str) -> None:
    page.get_by_label("Question", exact=True).fill(text)
    page.keyboard.press("Enter")
    page.locator(".after").wait_for()


def shots(browser: Browser, url: str, folder: Path, width: int, height: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url)
    page.locator(".row.model").first.wait_for(state="attached")
    titles = {"": QUESTION[:30], "-side-by-side": "And in the shell?"}
    for name, title in titles.items():
        if name and width < 1600:
            continue
        if width < 960:
            page.get_by_role("button", name="Conversations").click()
        page.get_by_role("button", name=title).first.click()
        page.locator(".pair" if name else ".text table").wait_for()
        page.wait_for_timeout(2500)  # until what slides has slid, and the loading has a time
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=folder / f"page-{width}-{scheme}{name}.png")
    if width < 1312:
        page.locator("#current-model").click()
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"page-{width}-{scheme}-models.png")
    about(page)
    page.screenshot(path=folder / f"page-{width}-{scheme}-server.png")
    context.close()


def about(page: Page) -> None:
    """Open what is told about the server that has a model in memory."""
    page.get_by_role("button", name="About the server of Laptop").click()
    page.locator('.row.server[data-server="laptop"] .in-memory').wait_for()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
