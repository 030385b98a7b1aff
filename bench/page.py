# SPDX-License-Identifier: GPL-2.0-only
"""The page of the report: one self-contained HTML file, charts drawn by gnuplot as inline SVG."""
import html
import re
import subprocess
import zlib

ROW_ORDER = ["vfio-congruent", "vfio-off-2m", "vfio-off-4k", "vfio-null", "sysfs-congruent",
             "sysfs-off-4k", "noiommu", "sysfs", "devmem", "anon-4k", "anon-thp",
             "qemu-7.2", "qemu-7.2-nvme", "qemu-10", "qemu-10-nothp", "qemu-10-16g",
             *(f"qemu-10-{n}-devices" for n in range(2, 9)), "qemu-7.2-128g", "qemu-10-128g",
             "pfnmap-1g-mapped", "pfnmap-1g-first", "pfnmap-1g-readonly", "pfnmap-4k-mapped",
             "pfnmap-4k-first", "ordinary-mapped", "ordinary-first"]

ABOUT = {
    "vfio-congruent": "vfio-pci BAR, VA ≡ PA modulo 1 GiB",
    "vfio-off-2m": "vfio-pci BAR, VA off by 2 MiB",
    "vfio-off-4k": "vfio-pci BAR, VA off by 4 KiB",
    "vfio-null": "vfio-pci BAR, placed by mmap(NULL)",
    "sysfs-congruent": "PCI sysfs resource file, VA ≡ PA modulo 1 GiB",
    "sysfs-off-4k": "PCI sysfs resource file, VA off by 4 KiB",
    "noiommu": "BAR of vfio-pci without an IOMMU, VA ≡ PA modulo 1 GiB",
    "sysfs": "the same BAR by its sysfs resource file",
    "devmem": "reserved RAM through /dev/mem, VA ≡ PA modulo 1 GiB",
    "qemu-7.2": "guest of QEMU 7.2, which does not align BARs",
    "qemu-10": "guest of QEMU 10, which aligns BARs",
    "qemu-7.2-nvme": "the same with an NVMe controller, which has DMA and a reset",
    "qemu-10-nothp": "guest of QEMU 10 that has huge pages off (PR_SET_THP_DISABLE)",
    "anon-4k": "ordinary memory, 4K pages, faulted in before (control)",
    "anon-thp": "ordinary memory, transparent huge pages, faulted in before (control)",
    "pfnmap-1g-mapped": "BAR page that the host has mapped, 1G leaf",
    "pfnmap-1g-first": "first touch of a BAR page, 1G leaf",
    "pfnmap-1g-readonly": "BAR page behind a read-only slot, 1G leaf",
    "pfnmap-4k-mapped": "BAR page that the host has mapped, 4K leaf",
    "pfnmap-4k-first": "first touch of a BAR page, 4K leaf",
    "ordinary-mapped": "ordinary page that the host has mapped (control)",
    "ordinary-first": "first write to an ordinary page (control)",
}

SPREAD_LIMIT = 0.5      # percent between boots; a figure that spreads more is marked

# name: (how to compute it, its title, the measured number whose spread it has)
_METRICS = {
    "faults": (lambda r: r["faults"], "KVM faults", "faults"),
    "total": (lambda r: r["mmap_insns"] + r["first_insns"], "mmap + all faults, insns", "first_insns"),
    "per_first": (lambda r: r["first_insns"] / r["faults"], "first fault, insns", "first_insns"),
    "per_mapped": (lambda r: r["mapped_insns"] / r["faults"], "mapped fault, insns", "mapped_insns"),
    "mmap": (lambda r: r["mmap_insns"], "mmap, insns", "mmap_insns"),
    "munmap": (lambda r: r["munmap_insns"], "munmap, insns", "munmap_insns"),
    "pt_kb": (lambda r: r["pt_kb"], "page tables, kB", "pt_kb"),
    "fork": (lambda r: r["insns"], "fork, insns", "insns"),
    "pt_child": (lambda r: r["child_pt_kb"], "its page tables, kB", "child_pt_kb"),
    "cut": (lambda r: r["cut_faults"], "faults after a munmap", "cut_faults"),
    "walks": (lambda r: r["walks"], "host walks", "walks"),
    "mmap_locks": (lambda r: r["mmap_locks"], "mmap_lock", "mmap_locks"),
    "ptl_locks": (lambda r: r["ptl_locks"], "page-table lock", "ptl_locks"),
    "vma_locks": (lambda r: r["vma_locks"], "VMA lock", "vma_locks"),
    "wait_free": (lambda r: r["ns_free"], "fault, ns", "ns_free"),
    "wait_held": (lambda r: r["ns_held"], "fault, lock held, ns", "ns_held"),
    "again": (lambda r: r["toggle_faults"], "faults, decode toggled", "toggle_faults"),
    "after": (lambda r: r["all_1g_after"], "1G leaves after that", "all_1g_after"),
    "pt_vmm": (lambda r: r["vmpte_kb"], "page tables of QEMU, kB", "vmpte_kb"),
    "dma": (lambda r: r["map_dma_first_ns"], "DMA map of BAR, insns", "map_dma_first_ns"),
    "dma_all": (lambda r: r["map_dma_ns"], "all DMA maps of it, insns", "map_dma_ns"),
    "ready": (lambda r: r["ready_ms"], "guest ready, ms", "ready_ms"),
}
METRICS = {name: metric[0] for name, metric in _METRICS.items()}
TITLES = {name: metric[1] for name, metric in _METRICS.items()}
SOURCE = {name: metric[2] for name, metric in _METRICS.items()}

# Colours that differ in lightness too, on a light and on a dark ground.
ORANGE, BLUE, YELLOW, GREY = "#d1602a", "#3a87c8", "#d9a420", "#8c8c8c"


# ---- numbers ----

def short(value, digits=4):
    """At most six characters."""
    if isinstance(value, float):
        value = round(value) if value >= 10 else round(value, 2)
    if value < 100000:
        return str(value)
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if value < 1000:
            return f"{value:.{digits}g}" + unit
    return f"{value:.3g}P"


def size(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024:
            return f"{n:g} {unit}"
        n /= 1024
    return f"{n:g} TiB"


def ratio(stock, series):
    if not series or not stock:
        return "to 0" if stock else "from 0" if series else "="
    quotient = stock / series
    return f"{quotient:.2f}" if quotient < 1000 else short(quotient)


def rows_of(results, table):
    return results["tables"].get(table, [])


def pairs(results, table):
    """[(row, stock, series)] of the rows that both kernels have, in the order of the page."""
    by = {(r["kernel"], r["row"]): r for r in rows_of(results, table)}
    names = sorted({row for _, row in by},
                   key=lambda n: (ROW_ORDER.index(n) if n in ROW_ORDER else len(ROW_ORDER), n))
    return [(n, by["stock", n], by["series", n]) for n in names
            if ("stock", n) in by and ("series", n) in by]


# ---- charts ----

def gnuplot(width, height, script):
    """An SVG element that takes its text colour from the page."""
    head = (f'set terminal svg size {width},{height} dynamic font "sans-serif,13"\n'
            'set border 3\nset tics nomirror out\nset encoding utf8\n')
    run = subprocess.run(["gnuplot"], input=head + script, capture_output=True, text=True, check=False)
    if run.returncode or "<svg" not in run.stdout:
        raise SystemExit(f"gnuplot failed: {run.stderr.strip()}")
    svg = run.stdout[run.stdout.index("<svg"):]
    svg = re.sub(r"<title>.*?</title>|<desc>.*?</desc>", "", svg, flags=re.S)
    svg = re.sub(r"rgb\(  0,   0,   0\)|\bblack\b", "currentColor", svg)
    # Ids are per chart; the page has several.
    tag = f"c{zlib.crc32(script.encode()):x}-"
    svg = re.sub(r"\bid=(['\"])", rf"id=\1{tag}", svg)
    return re.sub(r"(url\(#|href=['\"]#)", rf"\g<1>{tag}", svg)


def stacked(bars, colours, ylabel, extra=""):
    """Two bars (stock, series) for each group; bars: [(group, [values], [values], label, label)]."""
    boxes, numbers, tics, names = {name: [] for name in colours}, [], [], []
    for i, (name, stock, series, *texts) in enumerate(bars):
        for k, values in enumerate((stock, series)):
            x, low = 3 * i + k, 0
            for colour, value in zip(colours, values):
                boxes[colour].append(f"{x} {low} {x - .45} {x + .45} {low} {low + value}")
                low += value
            numbers.append(f'{x} {low} "{texts[k]}"')
            tics.append(f'"{("stock", "series")[k]}" {x}')
        names.append(f'set label "{name}" at {3 * i + .5}, graph -0.21 center font ",12"')
    data = "".join(f"$b{n} << EOD\n" + "\n".join(boxes[c]) + "\nEOD\n" for n, c in enumerate(colours))
    plots = ", ".join(f'$b{n} using 1:2:3:4:5:6 with boxxyerror fc rgb "{c}" fs solid 0.9 noborder '
                      f'title "{colours[c]}"' for n, c in enumerate(colours))
    return gnuplot(1000, 380, data + "$n << EOD\n" + "\n".join(numbers) + "\nEOD\n" + f'''
set key outside top center horizontal reverse Left samplen 1.5
set xtics ({", ".join(tics)}) scale 0 rotate by 90 right font ",10"
{chr(10).join(names)}
set bmargin 5
set xrange [-0.8:{3 * len(bars) - 1.2}]
set ylabel "{ylabel}"
set grid y lt 1 lc rgb "{GREY}" lw 0.3
{extra}
plot {plots}, $n using 1:2:3 with labels offset 0,0.7 font ",11" notitle
''')


def chart_levels(results):
    bars = []
    for name, stock, series in pairs(results, "levels"):
        shares, texts = [], []
        for r in (stock, series):
            parts = [r["n4k"] << 12, r["n2m"] << 21, r["n1g"] << 30]
            shares.append([100 * part / r["bytes"] for part in parts])
            texts.append(short(r["faults"], 3))
        bars.append((name, *shares, *texts))
    colours = {ORANGE: "4K leaves", YELLOW: "2M leaves", BLUE: "1G leaves"}
    return stacked(bars, colours, "share of the memslot, %", extra="set yrange [0:112]\nset ytics 0,25,100")


def chart_walks(results):
    bars = []
    for name, stock, series in pairs(results, "walks"):
        counts = [[r[n] for n in ("walks", "mmap_locks", "vma_locks", "ptl_locks")] for r in (stock, series)]
        texts = ["+".join(str(n) for n in c) for c in counts]
        bars.append((name, *counts, *texts))
    colours = {ORANGE: "walks of the host page tables", BLUE: "mmap\\\\_lock taken",
               GREY: "VMA lock taken", YELLOW: "page-table lock taken"}
    top = max((sum(c) for _, a, b, *_ in bars for c in (a, b)), default=1)
    return stacked(bars, colours, "number per KVM fault", extra=f"set yrange [0:{top * 1.12}]\nset ytics 2")


def growth_lines(results, value):
    """Gnuplot data and plot of a line for each row on each kernel; one that is all 4K is measured
    to 4 GiB and drawn dotted beyond, to the end."""
    lines, end = {}, 0
    for r in rows_of(results, "growth"):
        lines.setdefault((r["row"], r["kernel"]), []).append((r["bytes"], value(r), r["n2m"] + r["n1g"]))
        end = max(end, r["bytes"])
    data, plots = "", []
    colours = dict(zip(sorted({row for row, _ in lines}), (BLUE, ORANGE, YELLOW, GREY)))
    for n, ((row, kernel), points) in enumerate(sorted(lines.items())):
        points.sort()
        data += f"$d{n} << EOD\n" + "\n".join(f"{b / 2**30} {max(v, 1)}" for b, v, _ in points) + "\nEOD\n"
        style = ("pt 6 ps 0.9 lw 1.5" if kernel == "stock" else "pt 7 ps 0.7 lw 2.5")
        plots.append(f'$d{n} using 1:2 with linespoints lc rgb "{colours[row]}" {style} '
                     f'title "{row}, {kernel}"')
        last, amount, large = points[-1]
        if last < end and not large and amount > 1:
            data += f"$e{n} << EOD\n{last / 2**30} {amount}\n{end / 2**30} {amount * end / last}\nEOD\n"
            plots.append(f'$e{n} using 1:2 with lines lc rgb "{colours[row]}" lw 1.2 dt 3 notitle')
    return data, plots, end


def chart_growth(results, value, ylabel):
    """Log axes."""
    data, plots, end = growth_lines(results, value)
    if not plots:
        return ""
    return gnuplot(1000, 420, data + f'''
set logscale xy
set format y "10^{{%T}}"
set xtics ("64 MiB" 0.0625, "256 MiB" 0.25, "1 GiB" 1, "4 GiB" 4, "16 GiB" 16, "64 GiB" 64, "256 GiB" 256, "1 TiB" 1024)
set xrange [*:{end / 2**30 * 1.3}]
set xlabel "size of the BAR (dotted: extrapolated)"
set ylabel "{ylabel}"
set key outside right top
set grid lt 1 lc rgb "{GREY}" lw 0.3
plot {", ".join(plots)}
''')


def per_fault(results, row, which):
    """{function: {kernel: instructions of one fault}}, the largest first."""
    faults = {r["kernel"]: r["faults"] for r in rows_of(results, "levels") if r["row"] == row}
    by = {}
    for r in rows_of(results, "breakdown"):
        if (r["row"], r["pass"]) == (row, which) and r["kernel"] in faults:
            by.setdefault(r["function"], {})[r["kernel"]] = r["insns"] / faults[r["kernel"]]
    return dict(sorted(by.items(), key=lambda item: -max(item[1].values())))


def chart_breakdown(results, row, which):
    functions = list(per_fault(results, row, which).items())[:16]
    if not functions:
        return ""
    data, tics = {"stock": [], "series": []}, []
    for i, (name, insns) in enumerate(functions):
        y = -3 * i
        tics.append(f'"{name}" {y - .5}')
        for k, kernel in enumerate(data):
            value = insns.get(kernel, 0)
            data[kernel].append(f"{value} {y - k} 0 {value} {y - k - .45} {y - k + .45}")
    blocks = "".join(f"${k} << EOD\n" + "\n".join(v) + "\nEOD\n" for k, v in data.items())
    return gnuplot(1000, 90 + 24 * len(functions), blocks + f'''
set ytics ({", ".join(tics)}) scale 0 noenhanced
set yrange [{-3 * len(functions) + 1}:1.5]
set xrange [0:*]
set xlabel "instructions per fault"
set key outside top center horizontal reverse Left samplen 1.5
set grid x lt 1 lc rgb "{GREY}" lw 0.3
plot $stock using 1:2:3:4:5:6 with boxxyerror fc rgb "{ORANGE}" fs solid 0.9 noborder title "stock", \\
 $series using 1:2:3:4:5:6 with boxxyerror fc rgb "{BLUE}" fs solid 0.9 noborder title "series"
''')


# ---- the page ----

def table(results, name, metrics):
    rows = pairs(results, name)
    if not rows:
        return ""
    out = ["<table><thead><tr><th rowspan=2>row</th>"]
    out += [f"<th colspan=3>{html.escape(TITLES[m])}</th>" for m in metrics]
    out += ["</tr><tr>", "<th>stock</th><th>series</th><th>ratio</th>" * len(metrics), "</tr></thead>"]
    for row, stock, series in rows:
        out.append(f'<tr><th title="{html.escape(ABOUT.get(row, row))}">{html.escape(row)}</th>')
        for m in metrics:
            values = [METRICS[m](r) for r in (stock, series)]
            for r, v in zip((stock, series), values):
                spread = r["spread"].get(SOURCE[m], 0)
                mark = ' class="spread"' if spread > SPREAD_LIMIT else ""
                out.append(f'<td{mark} title="{v:,.0f}, spread {spread} %">{short(v)}</td>')
            out.append(f"<td class=ratio>{ratio(*values)}</td>")
        out.append("</tr>")
    return "".join(out) + "</table>"


def leaves_table(results, name):
    if not pairs(results, name):
        return ""
    out = ["<table><thead><tr><th rowspan=2>row</th><th rowspan=2>size</th><th colspan=3>stock</th>"
           "<th colspan=3>series</th></tr><tr>", "<th>4K</th><th>2M</th><th>1G</th>" * 2, "</tr></thead>"]
    for row, stock, series in pairs(results, name):
        counts = "".join(f"<td>{r[n]:,}</td>" for r in (stock, series) for n in ("n4k", "n2m", "n1g"))
        out.append(f"<tr><th>{html.escape(row)}</th><td>{size(stock['bytes'])}</td>{counts}</tr>")
    return "".join(out) + "</table>"


def verdict(results):
    say = []
    levels = {name: (a, b) for name, a, b in pairs(results, "levels")}
    walks = {name: (a, b) for name, a, b in pairs(results, "walks")}
    for name, what in (("vfio-null", "vfio-pci BAR placed by mmap(NULL)"),
                       ("sysfs-congruent", "PCI BAR through sysfs")):
        if name in levels:
            a, b = levels[name]
            say.append(f"A {size(a['bytes'])} {what}: {a['faults']:,} KVM faults on stock, "
                       f"{b['faults']:,} with the series.")
    if "pfnmap-1g-mapped" in walks:
        a, b = walks["pfnmap-1g-mapped"]
        say.append(f"A fault on a mapped BAR page: {a['walks']} walks and {a['mmap_locks']} acquisitions of "
                   f"mmap_lock on stock, {b['walks']} and {b['mmap_locks']} with the series.")
    if results["problems"]:
        say.insert(0, f"Not valid as it stands: {len(results['problems'])} problems, listed below.")
    return " ".join(say)


def worst_spread(results):
    spreads = [(max(r["spread"].values()), t, r["kernel"], r["row"])
               for t in results["tables"] for r in rows_of(results, t)
               if isinstance(r, dict) and r.get("spread")]
    return max(spreads, default=(0, "", "", ""))


def section(title, text, *parts):
    parts = [part for part in parts if part]
    if not parts:
        return ""
    return f"<section><h2>{title}</h2><p>{text}</p>" + "".join(parts) + "</section>"


def traces(results):
    stored = results["tables"].get("traces", {})
    out = []
    for row in ROW_ORDER:
        lists = []
        for kernel in ("stock", "series"):
            hits = stored.get(kernel, {}).get(row)
            if hits:
                items = "".join(f"<li>{html.escape(w)} <b>{html.escape(f)}</b></li>" for w, f in hits)
                lists.append(f"<div><h4>{kernel}</h4><ol>{items}</ol></div>")
        if lists:
            out.append(f"<details><summary>{row}: {html.escape(ABOUT.get(row, ''))}</summary>"
                       f"<div class=cols>{''.join(lists)}</div></details>")
    return "".join(out)


def how(results):
    meta = "".join(f"<tr><th>{html.escape(k)}</th><td><code>{html.escape(str(v))}</code></td></tr>"
                   for k, v in sorted(results["meta"].items()))
    spread, tab, kernel, row = worst_spread(results)
    boots = max((r["boots"] for r in rows_of(results, "levels")), default=1)
    text = (f"Both kernels have the same configuration and run the same programs in the same emulated "
            f"machine (QEMU TCG with nested SVM, one CPU, <code>-icount shift=0</code>): a nanosecond of "
            f"its clock is one instruction, so costs are counted, not timed. Up to {boots} boots, each row "
            f"the first of its boot; medians. Largest spread between boots: {spread:.3g} %"
            f"{f' ({kernel}, {tab}, {row})' if row else ''}. Instructions do not show cache and TLB "
            "misses: what larger leaves save a guest is not in these numbers.")
    return (f"<section><h2>How it was measured</h2><p>{text}</p>"
            f"<table class=left>{meta}</table></section>")


CSS = """
:root { color-scheme: light dark; --fg: #1b1b1b; --bg: #fff; --line: #ccc; --soft: #f3f3f1 }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e4e0; --bg: #161718; --line: #444; --soft: #232527 } }
body { font: 16px/1.5 sans-serif; color: var(--fg); background: var(--bg); max-width: 1040px;
  margin: 0 auto; padding: 1.5em 1.5em 4em }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2.2em } h4 { margin: .4em 0 }
.verdict { font-size: 1.1em; border-left: 4px solid #3a87c8; padding: .3em 1em; background: var(--soft) }
.bad { border-color: #d1602a }
svg { width: 100%; height: auto; display: block; margin: .5em 0 }
table { border-collapse: collapse; font-size: .82em; font-variant-numeric: tabular-nums; margin: .8em 0 }
th, td { padding: .22em .5em; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
thead th { text-align: center; border-bottom-color: var(--fg); font-weight: 600 }
tbody th, .left td { text-align: left; font-weight: 500 }
.left td { white-space: normal; overflow-wrap: anywhere }
.ratio { background: var(--soft) } .spread::after { content: "~" }
.cols { display: flex; gap: 3em; font-size: .85em } dt { font-weight: 600 } dd { margin: 0 0 .3em 1.5em }
.wide { overflow-x: auto }
"""


def wide(*tables):
    return [f"<div class=wide>{t}</div>" for t in tables if t]


def head(results):
    bad = " bad" if results["problems"] else ""
    yield f'<p class="verdict{bad}">{html.escape(verdict(results))}</p>'
    yield "".join(f"<p>Problem: {html.escape(p)}</p>" for p in results["problems"])


def leaves(results):
    yield section("At which level KVM maps the range",
                  "The number above a bar is that of the leaves, which is the number of KVM faults that mapping "
                  "the whole range takes.",
                  chart_levels(results) if pairs(results, "levels") else "", leaves_table(results, "levels"))
    yield section("The same on EPT",
                  "Emulated by Bochs, which has no PCI device with a larger BAR and no IOMMU: a 1G leaf of the EPT "
                  "over a vfio BAR is not shown here, one over /dev/mem is.",
                  leaves_table(results, "ept"))
    yield section("Guests that have a device",
                  "A BAR of a device that QEMU in the machine passes to its guest by vfio-pci: the leaves of the NPT "
                  "when the guest has touched every 2 MiB of it, and what it cost.",
                  leaves_table(results, "guest"),
                  *wide(table(results, "guest", ("again", "after", "pt_vmm")),
                        table(results, "guest", ("dma", "dma_all", "ready"))))


def costs(results):
    yield section("Walks and locks per KVM fault",
                  "Counted by hardware breakpoints on the top-level table "
                  "entry, on mm-&gt;pgd and on the lock words. The number above lists walks + mmap_lock + VMA "
                  "lock + page-table lock.",
                  chart_walks(results) if pairs(results, "walks") else "", traces(results))
    yield section("Cost against size", "Open points stock, filled points series. No page table at all is drawn at 1 kB.",
                  chart_growth(results, METRICS["total"], "mmap + all faults, instructions"),
                  chart_growth(results, METRICS["pt_kb"], "host page tables, kB"))
    breakdowns = [(row, which) for row in ("vfio-off-4k", "sysfs-congruent") for which in ("mapped", "first")][:2]
    yield section("Where the instructions of one fault go",
                  "By kernel function (with what the compiler inlined into it), the largest ones.",
                  *(f"<h3>{row}, {which}</h3>" + chart for row, which in breakdowns
                    if (chart := chart_breakdown(results, row, which))))
    yield section("Waiting", "One fault while a thread holds mmap_lock for writing, and without.",
                  table(results, "waiting", ("wait_free", "wait_held")))


def whole_table(results):
    rows = dict.fromkeys(n for t in ("levels", "ept", "guest", "walks") for n, _, _ in pairs(results, t))
    names = "".join(f"<dt>{n}</dt><dd>{html.escape(ABOUT.get(n, n))}</dd>" for n in rows)
    yield section("The table",
                  "ratio = stock / series: above 1 the series does less. ~ marks a figure that spreads more "
                  f"than {SPREAD_LIMIT} % between boots. Exact numbers are in the tool tips.",
                  *wide(table(results, "levels", ("faults", "total", "per_first", "per_mapped")),
                        table(results, "levels", ("mmap", "munmap", "pt_kb")),
                        table(results, "fork", ("fork", "pt_child")),
                        table(results, "cut", ("cut",)),
                        table(results, "walks", ("walks", "mmap_locks", "vma_locks", "ptl_locks"))),
                  f"<dl>{names}</dl>")


def write(results, path):
    """Draws the page from the results alone."""
    body = [*head(results), *leaves(results), *costs(results), *whole_table(results), how(results)]
    path.write_text("<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
                    "<meta name=viewport content='width=device-width'>"
                    "<title>Huge PFNMAP: stock against series</title>"
                    f"<style>{CSS}</style></head><body><h1>Huge PFNMAP: stock against series</h1>"
                    + "\n".join(body) + "</body></html>\n")
