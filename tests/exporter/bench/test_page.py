"""The report: one file without a network, every figure in words too, and drawn without a fault in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

pytest.importorskip("vl_convert", reason="the report's library is not installed: pip install bvx[report]")

from bvx.exporter.bench.page import render_page

ENGINES = {"bvx onnxruntime fp32": 10.0, "bvx openvino int8": 12.0, "torch": 8.0}
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


@pytest.fixture
def document(make_document):
    made = make_document(ENGINES)
    made["concurrency"] = [
        {
            "contender": name,
            "threads": 1,
            "batch": 1,
            "length": 16,
            "level": level,
            "calls": 9,
            "texts_per_second": 10.0,
        }
        | {"p50": 1.0, "p99": 2.0}
        for name in ENGINES
        for level in (1, 4)
    ]
    made["accuracy"] = [
        {"model": "a.bvx", "variant": "int8/cpu", "metric": "spearman", "before": 0.86, "after": 0.85, "low": -0.02}
        | {"high": 0.0, "changed": 3, "compared": 1000, "unit": "orders", "examples": 50, "source": "dev.csv"}
    ]
    layer = {"name": "layer.0.attention", "kind": "kgen", "inputs": ["Half"], "outputs": ["Half"]}
    audit = {"kernels": 69, "kernels_per_layer": 11.0, "attentions": 6, "attentions_fused": 6, "layers": [layer]}
    made["engines"] = [
        {"model": "a.bvx", "variant": "fp16/tensorrt", "engine": "tensorrt-rtx", "version": "1.7", "gpus": ["sm_89"]}
        | {"audit": audit}
    ]
    made["contenders"].append(
        {**made["contenders"][0], "contender": "absent </script><b>", "skipped": "<i>not here</i>"}
    )
    return made


@pytest.fixture
def page(document):
    return render_page(document)


def test_the_page_loads_nothing_from_anywhere(page):
    assert not re.search(r"<script[^>]+src=", page)
    assert not re.search(r"<(?:link|img|iframe|object)\b", without_scripts(page))
    assert not re.search(r"url\(|@import", page.partition("</style>")[0])
    assert len(page) < 2_000_000


def test_whatever_a_name_holds_it_is_text(page):
    assert "absent &lt;/script&gt;&lt;b&gt;" in page and "<i>not here</i>" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_the_summary_says_who_is_fastest_and_that_bvx_loses(page):
    assert "torch is the fastest" in page and "bvx loses this cell" in page


def test_every_cell_is_in_a_table_and_can_be_filtered(page, document):
    assert page.count('<tr data-engine="torch" data-shape=') == 2
    for name in (*ENGINES, "fp32", "1x16", "8x128"):
        assert f'value="{name}" checked' in page


def test_the_layers_of_compiled_engines_and_the_accuracy_are_tables(page):
    assert "69 kernels (11.0 a layer), 6 of 6 attentions fused" in page and "layer.0.attention" in page
    assert "-0.0100 (-0.0200 to +0.0000)" in page and "3 of 1,000 orders" in page


def test_the_environment_says_how_steady_the_machine_was(page):
    assert "no process bound to cores" in page and "4 % longer or more" in page


def test_an_incomplete_document_says_so_first(document):
    assert "INCOMPLETE" in render_page({**document, "complete": False})


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium")
def test_a_browser_draws_every_chart_with_words_for_those_who_do_not_see_it(page, tmp_path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    drawn = without_scripts(done.stdout)
    assert 'data-drawn="1"' in drawn and "data-failed" not in drawn
    assert "Uncaught" not in done.stderr
    # Two bars, two distributions, the throughput and accuracy; shapes that differ in both batch and length are no line.
    assert drawn.count("<figure>") == drawn.count("<svg") == 6
    assert "Accuracy against latency at 1x16" in drawn
    assert "6 of 6 cells shown" in drawn
    assert re.search(r'aria-label="Median at 1x16[^"]*torch \d', drawn)


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_words_and_lines_stand_out_on_light_and_on_dark_paper(page):
    style = page.partition("</style>")[0]
    for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]:
        value = {name: found.split() for name, found in re.findall(r"--([a-z-]+): (#[^;]+);", block)}
        paper, shade = value["paper"][0], value["shade"][0]
        for name in ("ink", "soft", "accent"):
            assert min(contrast(value[name][0], paper), contrast(value[name][0], shade)) >= 4.5, name
        assert contrast(value["warn-ink"][0], value["warn-paper"][0]) >= 4.5
        series = re.findall(r"--series-\d+: (#\w{6})", block)
        assert len(series) == 12
        for colour in series:  # of graphics: WCAG 2.2, 1.4.11
            assert contrast(colour, paper) >= 3, colour


def test_everything_can_be_reached_by_keyboard_and_has_a_name(page):
    body = without_scripts(page)
    assert 'class="skip" href="#figures"' in body and 'id="figures" tabindex="-1"' in body
    assert body.count('class="scroll"') == len(
        re.findall(r'class="scroll" tabindex="0" role="region" aria-label', body)
    )
    for box in re.findall(r"<label>(.*?)</label>", body):
        assert re.fullmatch(r'<input type="checkbox"[^>]*> \S.*', box)
    assert '<html lang="en">' in page and "<noscript>" in page
