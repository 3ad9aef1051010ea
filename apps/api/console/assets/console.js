/** Shows the progress of running jobs, and reloads the page when one ends. Everything else works without scripts. */

/** The period of the rate, in milliseconds. */
const RATE_OVER_MS = 10_000;
/** The step of the progress that screen readers announce. */
const SAY_EVERY_PERCENT = 25;
/** Browsers limit the connections to one server. */
const MOST_FOLLOWED = 4;

const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

function duration(exactly) {
  const seconds = Math.max(1, Math.round(exactly));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function follow(card) {
  const bar = card.querySelector('progress');
  const show = (name, text) => {
    const element = card.querySelector(`[data-show="${name}"]`);
    // Screen readers announce an element again if its text is set.
    if (element.textContent !== text) element.textContent = text;
  };
  /** Times and entities of the last seconds. */
  let samples = [];
  let said = 0;

  const move = ({ status, progresssCurrent: current, progresssTotal: total, progresssMessage: message }) => {
    show('message', message);
    if (status === 'IN_PROGRESS') {
      show('state', 'Running');
      card.querySelector('[data-show="state"]').className = 'state in-progress';
    }
    if (total === 0) return;
    bar.max = total;
    bar.value = current;
    // The last tenth of the total stands for the work after the last entity.
    const entities = Math.ceil((total * 10) / 11);
    show('done', `${number.format(Math.min(current, entities))} of ${number.format(entities)} entities`);

    const now = performance.now();
    if (samples.length > 0 && current < samples.at(-1).current) samples = []; // Another attempt began.
    samples.push({ now, current });
    samples = samples.filter((sample) => now - sample.now <= RATE_OVER_MS);
    const seconds = (now - samples[0].now) / 1000;
    const rate = seconds > 0 ? (current - samples[0].current) / seconds : 0;
    show('rate', rate > 0 && current < entities ? `${number.format(rate)} entities/s` : '');
    show('left', rate > 0 ? `about ${duration((total - current) / rate)} left` : '');

    const percent = Math.floor((100 * current) / total / SAY_EVERY_PERCENT) * SAY_EVERY_PERCENT;
    if (percent > said) show('said', `${percent} percent done`);
    said = Math.max(said, percent);
  };

  const events = new EventSource(card.dataset.events);
  let last;
  // Without changes no event comes, but the rate falls.
  const passing = setInterval(() => last && move(last), 1_000);
  events.addEventListener('status', ({ data }) => {
    last = JSON.parse(data);
    move(last);
    if (last.status !== 'COMPLETED' && last.status !== 'FAILED') return;
    clearInterval(passing);
    events.close();
    // Without the message at the top, which is out of date.
    location.replace(location.pathname);
  });
  events.addEventListener('error', () => {
    // The browser reconnects by itself, unless the session has ended.
    if (events.readyState !== EventSource.CLOSED) return;
    clearInterval(passing);
    show('left', 'Disconnected: reload the page.');
  });
}

/** The viewer's own clock beside UTC, if it differs. */
const clock = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'short' });
const zoneOf = new Intl.DateTimeFormat('en', { timeZoneName: 'short' });
for (const time of document.querySelectorAll('time')) {
  const on = new Date(time.dateTime);
  if (on.getTimezoneOffset() === 0) continue;
  const name = zoneOf.formatToParts(on).find(({ type }) => type === 'timeZoneName').value;
  const local = `${clock.format(on)} ${name}`;
  if ('exact' in time.dataset) time.textContent += ` (${local})`;
  else time.title += ` (${local})`;
}

[...document.querySelectorAll('[data-events]')].slice(0, MOST_FOLLOWED).forEach(follow);
