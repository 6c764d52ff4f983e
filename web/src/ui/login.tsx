// The form for the key; shown at first and after the server refused one.
import { useEffect, useRef, useState } from 'preact/hooks';
import { refused, setKey } from '../lib/auth';
import { t, type Key } from '../lib/i18n';
import { Tools } from './header';
import { Logo } from './icons';
import { Code } from './code';

export function Login() {
  const input = useRef<HTMLInputElement>(null);
  const [empty, setEmpty] = useState(false);
  useEffect(() => input.current?.focus(), []);
  const submit = (e: Event) => {
    e.preventDefault();
    const v = input.current?.value.trim() ?? '';
    setEmpty(v === '');
    if (v !== '') setKey(v);
  };
  const error: Key | '' = empty ? 'login.empty' : refused.value === '' ? '' : `login.${refused.value}`;
  return (
    <main class="login">
      <form class="card" onSubmit={submit} noValidate>
        <div class="brand"><Logo /><span>Stowage</span></div>
        <h1>{t('login.title')}</h1>
        <label for="key">{t('login.label')}</label>
        <input id="key" name="key" type="password" ref={input} autocomplete="off" spellcheck={false} placeholder="sk-…"
          aria-invalid={error !== ''} aria-describedby={error ? 'key-error key-hint' : 'key-hint'} />
        {error && <p id="key-error" class="error" role="alert">{t(error)}</p>}
        <p id="key-hint" class="hint"><Code text={t('login.hint')} /></p>
        <button type="submit" class="primary">{t('login.submit')}</button>
      </form>
      <div class="login-tools"><Tools /></div>
    </main>
  );
}
