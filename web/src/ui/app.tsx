// The page: header, banner, models and pipeline at the left, racks at the right; or the login form.
import { key } from '../lib/auth';
import { t } from '../lib/i18n';
import { Banner } from './banner';
import { Header } from './header';
import { Login } from './login';
import { Models } from './models';
import { Pipeline } from './pipeline';
import { Racks } from './racks';
import { announcement, selection } from './store';

export function App() {
  if (key.value === '') return <Login />;
  const onKey = (e: KeyboardEvent) => {
    if (e.key === 'Escape' && selection.value) selection.value = null;
  };
  return (
    <div class="page" onKeyDown={onKey}>
      <a class="skip" href="#models" onClick={(e) => {
        // The hash is the selection's; only the focus moves.
        e.preventDefault();
        document.getElementById('models')?.focus();
      }}>{t('app.skip')}</a>
      <Header />
      <Banner />
      <main class="layout">
        <div class="side">
          <Models />
          <Pipeline />
        </div>
        <Racks />
      </main>
      <div class="sr" role="status" aria-live="polite">{announcement.value}</div>
    </div>
  );
}
