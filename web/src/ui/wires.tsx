// The selected pipeline drawn over the racks: stations are the numbered circles, wires the hops.
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { route, type Card, type Stop, type Wire } from '../lib/route';
import type { ReplicaView } from '../lib/view';
import { selectedReplica, view } from './store';

interface Drawing {
  width: number;
  height: number;
  wires: (Wire & { back?: boolean })[];
}

function measure(floor: HTMLElement, r: ReplicaView): Drawing {
  const origin = floor.getBoundingClientRect();
  const style = getComputedStyle(floor);
  const gap = { x: parseFloat(style.columnGap) || 24, y: parseFloat(style.rowGap) || 24 };
  const rects = [...floor.querySelectorAll<HTMLElement>('.rack')].map((el) => ({ el, box: el.getBoundingClientRect() }));
  const cards = new Map<Element, Card>(rects.map(({ el, box }) => [el, {
    left: box.left - origin.left, right: box.right - origin.left, top: box.top - origin.top,
    rowBottom: Math.max(...rects.filter((o) => Math.abs(o.box.top - box.top) < 4).map((o) => o.box.bottom)) - origin.top,
  }]));
  const rows = new Map([...floor.querySelectorAll<HTMLElement>('[data-bar]')].map((el) => [el.dataset.bar!, el]));
  const stop = (key: string, nodeId: string): Stop | null => {
    const row = rows.get(key);
    const card = row && cards.get(row.closest('.rack')!);
    if (!row || !card) return null;
    const st = row.querySelector('.station')!.getBoundingClientRect();
    const bar = row.querySelector('.bar')!.getBoundingClientRect();
    return {
      nodeId, card, x: st.left + st.width / 2 - origin.left, y: st.top + st.height / 2 - origin.top,
      barRight: bar.right - origin.left, barY: bar.top + bar.height / 2 - origin.top,
    };
  };
  const wires: Drawing['wires'] = [];
  const entry = stop(r.mainKey, r.mainId);
  let at = r.stages[0]?.deviceKey === r.mainKey ? null : entry;
  let lane = 0;
  for (const s of r.stages) {
    const to = stop(s.deviceKey, s.nodeId);
    if (at && to) wires.push(route(at, to, at.nodeId === to.nodeId ? 0 : lane++, gap));
    at = to;
  }
  if (at && entry && at.nodeId !== entry.nodeId) wires.push({ ...route(at, entry, lane, gap), back: true });
  return { width: floor.clientWidth, height: floor.clientHeight, wires };
}

export function Wires({ floor }: { floor: RefObject<HTMLElement | null> }) {
  const r = selectedReplica.value;
  void view.value; // cards may have moved
  const [drawing, setDrawing] = useState<Drawing | null>(null);
  const [, setResized] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(() => setResized((n) => n + 1));
    if (floor.current) watch.observe(floor.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    const next = r && r.stages.length > 0 && floor.current ? measure(floor.current, r) : null;
    if (JSON.stringify(next) !== JSON.stringify(drawing)) setDrawing(next);
  });
  if (!drawing || !r || r.stages.length === 0) return null;
  return (
    <svg class={`wires c${r.stages[0]!.color}`} width={drawing.width} height={drawing.height} aria-hidden="true" data-wires={drawing.wires.length}>
      <defs>
        <marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" orient="auto">
          <path d="M0 0.5L7 4L0 7.5z" />
        </marker>
      </defs>
      {drawing.wires.map((w) => (
        <g class={`wire${w.net ? ' net' : ' local'}${w.back ? ' back' : ''}`}>
          <path class="halo" d={w.d} />
          <path class="line" d={w.d} marker-end="url(#arrow)" />
          {w.net && !w.back && <path class="flow" d={w.d} />}
        </g>
      ))}
    </svg>
  );
}
