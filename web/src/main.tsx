// Entry: settings, key, page.
import { render } from 'preact';
import { loadKey } from './lib/auth';
import { App } from './ui/app';
import { followCluster, loadSettings } from './ui/store';

loadKey();
loadSettings();
followCluster();
render(<App />, document.getElementById('app')!);
