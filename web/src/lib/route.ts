// Where the wires of a pipeline run: along the gutters between the cards, never over one. Pure geometry.

export interface Card {
  left: number;
  right: number;
  top: number;
  rowBottom: number; // lowest edge of the cards in the same row
}

/** A device on the floor: the station left of its bar, and the bar's right end. */
export interface Stop {
  nodeId: string;
  x: number; // centre of the station
  y: number;
  barRight: number;
  barY: number;
  card: Card;
}

export interface Wire {
  net: boolean;
  d: string;
}

type Point = [number, number];
const STATION_R = 12;

/** A polyline with rounded corners. */
export function rounded(points: readonly Point[], radius: number): string {
  const p = points.filter((q, i) => i === 0 || Math.hypot(q[0] - points[i - 1]![0], q[1] - points[i - 1]![1]) > 0.5);
  const f = (v: number) => Math.round(v * 10) / 10;
  let d = `M${f(p[0]![0])} ${f(p[0]![1])}`;
  for (let i = 1; i < p.length - 1; i++) {
    const [a, b, c] = [p[i - 1]!, p[i]!, p[i + 1]!];
    const ab = Math.hypot(b[0] - a[0], b[1] - a[1]);
    const bc = Math.hypot(c[0] - b[0], c[1] - b[1]);
    const r = Math.min(radius, ab / 2, bc / 2);
    const from: Point = [b[0] + ((a[0] - b[0]) / ab) * r, b[1] + ((a[1] - b[1]) / ab) * r];
    const to: Point = [b[0] + ((c[0] - b[0]) / bc) * r, b[1] + ((c[1] - b[1]) / bc) * r];
    d += `L${f(from[0])} ${f(from[1])}Q${f(b[0])} ${f(b[1])} ${f(to[0])} ${f(to[1])}`;
  }
  const end = p[p.length - 1]!;
  return `${d}L${f(end[0])} ${f(end[1])}`;
}

/** `lane` keeps wires that share a gutter apart; `gap` is the space between cards. */
export function route(a: Stop, b: Stop, lane: number, gap: { x: number; y: number }): Wire {
  if (a.nodeId === b.nodeId) {
    const s = b.y > a.y ? 1 : -1;
    return { net: false, d: rounded([[a.x, a.y + s * STATION_R], [b.x, b.y - s * (STATION_R + 3)]], 0) };
  }
  const shift = ((lane % 5) - 2) * Math.min(4, gap.x / 9);
  const into: Point = [b.x - STATION_R - 3, b.y];
  const inLeft = b.card.left - gap.x / 2 + shift;
  if (Math.abs(a.card.left - b.card.left) < 4) {
    return { net: true, d: rounded([[a.x - STATION_R, a.y], [inLeft, a.y], [inLeft, b.y], into], 9) };
  }
  const outRight = a.card.right + gap.x / 2 + shift;
  const start: Point = [a.barRight + 2, a.barY];
  if (Math.abs(outRight - inLeft) < 4) {
    return { net: true, d: rounded([start, [inLeft, a.barY], [inLeft, b.y], into], 9) };
  }
  // Around by a gap between rows: the one next to b's row on a's side.
  const rowY = b.card.top > a.card.top + 4 ? b.card.top - gap.y / 2 : b.card.rowBottom + gap.y / 2;
  const y = rowY + shift;
  return { net: true, d: rounded([start, [outRight, a.barY], [outRight, y], [inLeft, y], [inLeft, b.y], into], 9) };
}
