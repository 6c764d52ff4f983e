// The list of models: state, phase, context, speed, and what a waiting one waits for.
import { bytes } from '../lib/format';
import { number, t, word } from '../lib/i18n';
import type { ModelView } from '../lib/view';
import { Code } from './code';
import { Badge } from './icons';
import { cluster, selection, toggleModel, view } from './store';

function Facts({ m }: { m: ModelView }) {
  const stages = m.replicas.flatMap((r) => r.stages);
  const gpus = new Set(stages.filter((s) => !s.ram).map((s) => s.deviceKey)).size;
  const nodes = new Set(stages.map((s) => s.nodeId)).size;
  const facts = [
    m.tokS !== null ? t('models.tokS', { v: number(m.tokS, 1) })
      : m.predictedTokS !== null ? t('models.predicted', { v: number(m.predictedTokS, 1) }) : '',
    m.ctx > 0 ? t('models.ctx', { n: m.ctx }) : '',
    m.slots > 0 ? t('models.slots', { n: m.slots }) : '',
    gpus > 0 ? t('models.gpus', { n: gpus }) : '',
    nodes > 0 ? t('models.nodes', { n: nodes }) : '',
    m.bytes > 0 ? bytes(m.bytes) : '',
    m.wanted > 1 ? t('models.replicas', { ready: m.ready, wanted: m.wanted }) : '',
  ].filter((f) => f !== '');
  return <span class="facts">{facts.map((f) => <span>{f}</span>)}</span>;
}

function Model({ m }: { m: ModelView }) {
  const on = selection.value?.model === m.name;
  const shown = m.phase || m.state;
  const text = word('state', shown) + (m.percent !== null ? ` ${number(m.percent)} %` : '');
  return (
    <li>
      <button type="button" class={`model c${m.color}${on ? ' on' : ''}`} aria-pressed={on} data-model={m.name}
        data-state={m.state} title={t('models.show', { model: m.name })} onClick={() => toggleModel(m.name)}>
        <span class="swatch" aria-hidden="true" />
        <span class="name">{m.name}</span>
        <Badge state={shown} text={text} />
        <Facts m={m} />
        {m.percent !== null && (
          <span class="progress" role="progressbar" aria-label={text} aria-valuemin={0} aria-valuemax={100}
            aria-valuenow={Math.round(m.percent)}><span style={{ width: `${Math.min(100, m.percent)}%` }} /></span>
        )}
        {m.reason && m.state !== 'ready' && (
          <span class="reason">{m.reason.message || m.reason.code}</span>
        )}
      </button>
    </li>
  );
}

export function Models() {
  const models = view.value.models;
  return (
    <section class="models" id="models" tabIndex={-1} aria-labelledby="models-title">
      <h2 id="models-title">{t('models.title')}{models.length > 0 && <span class="count">{number(models.length)}</span>}</h2>
      {models.length > 0 && <ul>{models.map((m) => <Model key={m.name} m={m} />)}</ul>}
      {models.length === 0 && cluster.value.loaded && (
        <div class="empty">
          <h3>{t('models.empty.title')}</h3>
          <p>{t('models.empty.text')}</p>
          <p><Code text="`stowage deploy /path/to/model.gguf`" /></p>
        </div>
      )}
    </section>
  );
}
