import { makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { makeWorker } from '../../src/bootstrap/run-worker.ts';
import { parseWorkerFlags } from '../../src/bootstrap/worker-flags.ts';
import { httpLeaseConnector } from '../support/lease-connector.ts';
import { clockAhead } from './clock-ahead.ts';
import { order, type Reply } from './orders.ts';
import { die, Steps, watchConnector, watchStores } from './steps.ts';

// An API or a worker as src/main starts them, with a connector of the tests, which stops at the step that it is told. Arguments: `api`; or
// `worker`, by how many seconds its clock is ahead, and its flags. A worker waits until it is told to work; with flags it then goes on by
// itself, without them it does what is due.

const [, , kind = '', secondsAhead = '0', ...flags] = process.argv;
const steps = new Steps();
watchStores(steps);

const connectors = [watchConnector(httpLeaseConnector(process.env.FAULTS_LEASES_URL ?? ''), steps)];
const configuration = await readConfiguration(process.env);
const tell = (reply: Reply): void => void process.send?.(reply);

// Whoever started it is gone.
process.on('disconnect', () => process.exit());

let work = (): Promise<boolean> => Promise.resolve(false);
if (kind === 'api') {
  const api = await makeApi(configuration, { connectors });
  const [address = ''] = await api.start();
  tell({ reply: 'listening', address });
} else {
  const clock = clockAhead(Number(secondsAhead));
  const worker = await makeWorker(configuration, parseWorkerFlags(flags), { clock, connectors });
  const start = async (): Promise<boolean> => (await worker.start()) !== '';
  work = flags.length > 0 ? start : () => worker.runOnce(new AbortController().signal);
  tell({ reply: 'listening', address: '' });
}

process.on('message', (message) => {
  const told = order.parse(message);
  if (told.order === 'count') {
    steps.count(told.at, told.then === 'die' ? die : () => tell({ reply: 'held' }));
    tell({ reply: 'counting' });
  } else if (told.order === 'steps') {
    tell({ reply: 'steps', names: [...steps.names] });
  } else {
    void work().then((isFinished) => tell({ reply: 'worked', isFinished }));
  }
});
