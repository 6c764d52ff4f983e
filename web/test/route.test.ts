import assert from 'node:assert/strict';
import { test } from 'node:test';
import { route, type Card, type Stop } from '../src/lib/route';

const GAP = { x: 40, y: 34 };
const CARD_W = 300;

/** A floor of `columns` x rows whose cards have different heights, as the grid lays them out. */
function floor(columns: number, heights: number[]): Card[] {
  const cards: Card[] = [];
  let top = 0;
  for (let i = 0; i < heights.length; i += columns) {
    const row = heights.slice(i, i + columns);
    row.forEach((_, c) => cards.push({ left: c * (CARD_W + GAP.x), right: c * (CARD_W + GAP.x) + CARD_W, top, rowBottom: top + Math.max(...row) }));
    top += Math.max(...row) + GAP.y;
  }
  return cards;
}
const stopOn = (card: Card, i: number, y: number): Stop => ({
  nodeId: `n${i}`, card, x: card.left + 22, y: card.top + y, barRight: card.right - 14, barY: card.top + y + 10,
});
const pointsOf = (d: string): [number, number][] =>
  [...d.matchAll(/[MLQ ]?(-?[\d.]+) (-?[\d.]+)/g)].map((m) => [Number(m[1]), Number(m[2])]);

test('a wire between nodes crosses no card but its own two', () => {
  for (const columns of [1, 2, 3, 5]) {
    const heights = Array.from({ length: 11 }, (_, i) => 120 + ((i * 97) % 260));
    const cards = floor(columns, heights);
    for (let i = 0; i < cards.length; i++) {
      for (let j = 0; j < cards.length; j++) {
        if (i === j) continue;
        for (let lane = 0; lane < 5; lane++) {
          const w = route(stopOn(cards[i]!, i, 60), stopOn(cards[j]!, j, 80), lane, GAP);
          assert.equal(w.net, true);
          const p = pointsOf(w.d);
          for (let k = 1; k < p.length; k++) {
            for (let s = 0; s <= 20; s++) {
              const x = p[k - 1]![0] + ((p[k]![0] - p[k - 1]![0]) * s) / 20;
              const y = p[k - 1]![1] + ((p[k]![1] - p[k - 1]![1]) * s) / 20;
              const hit = cards.findIndex((c, n) => n !== i && n !== j && x > c.left && x < c.right && y > c.top && y < c.top + heights[n]!);
              assert.equal(hit, -1, `${columns} columns, ${i} to ${j}, lane ${lane}: over card ${hit} at ${x},${y}\n${w.d}`);
            }
          }
        }
      }
    }
  }
});

test('within a node the wire joins the stations, whichever is above', () => {
  const [card] = floor(1, [300]);
  const down = route(stopOn(card!, 0, 40), stopOn(card!, 0, 140), 0, GAP);
  assert.deepEqual([down.net, down.d], [false, 'M22 52L22 125']);
  assert.equal(route(stopOn(card!, 0, 140), stopOn(card!, 0, 40), 0, GAP).d, 'M22 128L22 55');
});
