// The key: from #key=... (taken out of the address bar at once) or the form; kept for this tab only.
import { signal } from '@preact/signals';

const SLOT = 'stowage.key';

export const key = signal<string>('');
/** Why the form is shown although a key was given: a word of the catalogue, "" at first. */
export const refused = signal<'' | 'wrong' | 'scope'>('');

export function loadKey(): void {
  const hash = new URLSearchParams(location.hash.slice(1));
  const given = hash.get('key');
  if (given !== null) {
    hash.delete('key');
    const rest = hash.toString();
    history.replaceState(null, '', location.pathname + location.search + (rest ? `#${rest}` : ''));
    if (given.trim() !== '') return setKey(given.trim());
  }
  key.value = sessionStorage.getItem(SLOT) ?? '';
}

export function setKey(value: string): void {
  sessionStorage.setItem(SLOT, value);
  refused.value = '';
  key.value = value;
}

export function dropKey(why: '' | 'wrong' | 'scope'): void {
  sessionStorage.removeItem(SLOT);
  refused.value = why;
  key.value = '';
}
