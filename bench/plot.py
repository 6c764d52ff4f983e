"""Log-log curves of the placement benchmark as SVG, readable on light and dark pages. No library."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 72, 190, 56, 56
# Colours that differ in lightness too; light page first, dark page second.
COLOURS = [("#0b6bcb", "#6cb6ff"), ("#b3261e", "#ff8b82"), ("#2e7d32", "#7ee787"), ("#8a5a00", "#e3b341"),
           ("#6a3fb5", "#d2a8ff"), ("#00696f", "#56d4dd"), ("#555555", "#b0b0b0")]
DASHES = ["", "7 4", "2 3", "12 4 2 4"]


def style():
    light = "".join(".c%d{stroke:%s}.f%d{fill:%s}" % (i, c[0], i, c[0]) for i, c in enumerate(COLOURS))
    dark = "".join(".c%d{stroke:%s}.f%d{fill:%s}" % (i, c[1], i, c[1]) for i, c in enumerate(COLOURS))
    return ("text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}.small{font-size:12px}"
            ".bg{fill:#ffffff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}"
            ".line{fill:none;stroke-width:2}" + light +
            "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#8b949e}"
            + dark + "}")


class Chart:
    """Curves are (label, colour, dash, points, end): points (x, y) in order; end: None or a remark at the last point."""

    def __init__(self, title, xs, y_lo, y_hi, x_label, y_label):
        self.x_lo, self.x_hi = math.log10(min(xs)), math.log10(max(xs))
        self.y_lo, self.y_hi = math.floor(math.log10(y_lo)), math.ceil(math.log10(y_hi))
        self.out = []
        self.labels = []  # (y, text, colour) at the right-hand side
        self.text(LEFT, 28, title, "title")
        self.axes(xs, x_label, y_label)

    def x(self, v):
        return LEFT + (math.log10(v) - self.x_lo) / (self.x_hi - self.x_lo) * (WIDTH - LEFT - RIGHT)

    def y(self, v):
        return HEIGHT - BOTTOM - (math.log10(v) - self.y_lo) / (self.y_hi - self.y_lo) * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, s, cls="", anchor="start", extra=""):
        self.out.append('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s"%s>%s</text>' % (x, y, cls, anchor, extra, escape(s)))

    def axes(self, xs, x_label, y_label):
        for e in range(self.y_lo, self.y_hi + 1):
            y = self.y(10 ** e)
            self.out.append('<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>' % (LEFT, y, WIDTH - RIGHT, y))
            self.text(LEFT - 8, y + 4, format(10 ** e, ",") if e >= 0 else "%g" % 10 ** e, "small", "end")
        for v in xs:
            self.out.append('<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>' % (self.x(v), TOP, self.x(v), HEIGHT - BOTTOM))
            self.text(self.x(v), HEIGHT - BOTTOM + 18, format(v, ","), "small", "middle")
        self.out.append('<path class="axis" fill="none" d="M%d %dV%dH%d"/>' % (LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT))
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label, "small", "middle")
        mid = (TOP + HEIGHT - BOTTOM) / 2
        self.text(18, mid, y_label, "small", "middle", ' transform="rotate(-90 18 %.1f)"' % mid)

    def curve(self, label, colour, dash, points, end=None):
        path = " ".join("%s%.1f %.1f" % ("ML"[i > 0], self.x(x), self.y(y)) for i, (x, y) in enumerate(points))
        self.out.append('<path class="line c%d" stroke-dasharray="%s" d="%s"/>' % (colour, DASHES[dash], path))
        for x, y in points:
            self.out.append('<circle class="f%d" cx="%.1f" cy="%.1f" r="3"/>' % (colour, self.x(x), self.y(y)))
        x, y = points[-1]
        if end:  # a cross where it ends, and why
            cx, cy = self.x(x), self.y(y)
            self.out.append('<path class="line c%d" d="M%.1f %.1fl12 12m0 -12l-12 12"/>' % (colour, cx - 6, cy - 6))
            self.text(cx + 10, cy - 6, end, "small f%d" % colour)
        self.labels.append((self.y(y), label, colour, dash))

    def legend(self):
        """Labels at the right, in order of the curves' ends, none upon another."""
        at = TOP
        for y, label, colour, dash in sorted(self.labels):
            at = max(at + 18, y)
            at = min(at, HEIGHT - 10)
            x = WIDTH - RIGHT + 10
            self.out.append('<path class="line c%d" stroke-dasharray="%s" d="M%d %.1fh22"/>' % (colour, DASHES[dash], x, at))
            self.text(x + 28, at + 4, label, "small")

    def svg(self, description):
        self.legend()
        return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">\n<title>%s</title>\n'
                '<style>%s</style>\n<rect class="bg" width="100%%" height="100%%"/>\n%s\n</svg>\n'
                % (WIDTH, HEIGHT, WIDTH, HEIGHT, escape(description), style(), "\n".join(self.out)))


def sizes(doc):
    return list(dict.fromkeys(c["gpus"] for c in doc["cells"]))


def over(doc, n, key, pick):
    return max(pick([c[key] for c in doc["cells"] if c["gpus"] == n and c[key] is not None] or [0]), 1e-4)


def middle(values):
    return sorted(values)[len(values) // 2]


def base_curve(doc, prefix):
    """The baseline's worst cell by size, up to the first size at which one does not end; and how that one ends."""
    points = []
    for n in sizes(doc):
        cells = [c for c in doc["cells"] if c["gpus"] == n and c[prefix + "_end"]]
        if not cells:
            break
        if all(c[prefix + "_end"] == "gives up" for c in cells):
            return points, "gives up above %s GPUs" % format(points[-1][0], ",") if points else "gives up"
        points.append((n, max(c[prefix + "_ms"] for c in cells)))
        late = sum(c[prefix + "_end"] == "limit" for c in cells)
        if late:
            return points, "%d of %d cells past %s calls" % (late, len(cells), format(doc["baseline_calls"], ","))
    return points, None


def growth(doc):
    ns = sizes(doc)
    lines = [("worst, all explained", 4, 2, [(n, over(doc, n, "explained_worst_ms", max)) for n in ns], None),
             ("worst, search", 0, 0, [(n, over(doc, n, "worst_ms", max)) for n in ns], None),
             ("median, search", 2, 0, [(n, over(doc, n, "median_ms", middle)) for n in ns], None)]
    for label, colour, dash, prefix in (("subsets, no cap", 1, 1, "subsets"), ("subsets, capped", 3, 3, "capped")):
        points, end = base_curve(doc, prefix)
        if points:
            lines.append((label, colour, dash, points, end))
    ys = [y for _, _, _, p, _ in lines for _, y in p]
    c = Chart("One plan, by cluster size: all families and models", ns, min(ys), max(ys), "GPUs", "ms of processor time")
    for line in lines:
        c.curve(*line)
    return c.svg("Time of one plan by number of GPUs, beside an enumerator of GPU subsets")


def families(doc):
    ns, names = sizes(doc), list(dict.fromkeys(c["family"] for c in doc["cells"]))
    lines = []
    for i, name in enumerate(names):
        points = [(n, max(c["worst_ms"] for c in doc["cells"] if c["family"] == name and c["gpus"] == n)) for n in ns]
        lines.append((name, i % len(COLOURS), i // len(COLOURS), points))
    ys = [y for _, _, _, p in lines for _, y in p]
    c = Chart("The search alone, worst model and cluster, by family", ns, min(ys), max(ys), "GPUs", "ms of processor time")
    for line in lines:
        c.curve(*line)
    return c.svg("Worst time of one plan by number of GPUs and family of clusters")
