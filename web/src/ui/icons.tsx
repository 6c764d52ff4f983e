// The few drawings of the page. Decorative: the words beside them carry the meaning.
const PATHS: Record<string, string> = {
  ready: 'M3.5 8.5l3 3 6-7',
  degraded: 'M8 3v6M8 12.2v.3',
  drained: 'M5.5 3.5v9M10.5 3.5v9',
  lost: 'M4 4l8 8M12 4l-8 8',
  pending: 'M8 2.2a5.8 5.8 0 1 1 0 11.6a5.8 5.8 0 0 1 0-11.6M8 5v3.2l2.2 1.4',
  going: 'M8 2.5a5.5 5.5 0 1 1-5.5 5.5',
  stopped: 'M4.5 4.5h7v7h-7z',
  close: 'M4 4l8 8M12 4l-8 8',
  sun: 'M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M3.4 12.6l1.1-1.1M11.5 4.5l1.1-1.1M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6',
  moon: 'M13 9.6A5.6 5.6 0 0 1 6.4 3a5.6 5.6 0 1 0 6.6 6.6z',
  out: 'M6.5 3H3.5v10h3M7 8h6M10.5 5.5L13 8l-2.5 2.5',
};

export function Icon({ name }: { name: string }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      <path d={PATHS[name] ?? ''} />
    </svg>
  );
}

const ICON_OF: Record<string, string> = {
  ready: 'ready', degraded: 'degraded', drained: 'drained', draining: 'drained', lost: 'lost', failed: 'lost',
  pending: 'pending', assigned: 'pending', fetching: 'going', starting: 'going', loading: 'going', stopped: 'stopped',
};
const TONE_OF: Record<string, string> = {
  ready: 'good', degraded: 'warn', drained: 'warn', draining: 'warn', lost: 'bad', failed: 'bad',
  pending: 'warn', assigned: 'info', fetching: 'info', starting: 'info', loading: 'info', stopped: 'calm',
};

/** A state as icon and word; the colour only repeats them. */
export function Badge({ state, text }: { state: string; text: string }) {
  return (
    <span class={`badge tone-${TONE_OF[state] ?? 'calm'}`}>
      <Icon name={ICON_OF[state] ?? 'pending'} />{text}
    </span>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="30" height="30" aria-hidden="true" focusable="false">
      <rect x="3" y="5" width="26" height="6" rx="2" fill="var(--c0)" />
      <rect x="3" y="13" width="16" height="6" rx="2" fill="var(--c2)" />
      <rect x="21" y="13" width="8" height="6" rx="2" fill="var(--track-strong)" />
      <rect x="3" y="21" width="9" height="6" rx="2" fill="var(--c1)" />
      <rect x="14" y="21" width="15" height="6" rx="2" fill="var(--c3)" />
    </svg>
  );
}
