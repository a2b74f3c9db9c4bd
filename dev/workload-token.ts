import { readFileSync } from 'node:fs';
import { importPKCS8, importSPKI } from 'jose';
import { makeCluster } from './cluster.ts';

// Prints a token as the pod of a service account finds it in its projected volume: SERVICE_ACCOUNT=reviewer, NAMESPACE=agents. Its
// issuer's keys are workloads.pem and workloads.pub.pem in .dev/, as deploy/compose/make-keys.sh makes them.

const { SERVICE_ACCOUNT = '', NAMESPACE = '' } = process.env;
const serviceAccount = SERVICE_ACCOUNT === '' ? 'reviewer' : SERVICE_ACCOUNT;
const namespace = NAMESPACE === '' ? 'agents' : NAMESPACE;

const cluster = await makeCluster(undefined, {
  privateKey: await importPKCS8(readFileSync('.dev/workloads.pem', 'utf8'), 'RS256'),
  publicKey: await importSPKI(readFileSync('.dev/workloads.pub.pem', 'utf8'), 'RS256', { extractable: true }),
});

console.error(
  [
    `a pod of ${namespace}/${serviceAccount} for an hour, to an API that was started with`,
    `ASB_K8S_ISSUER=${cluster.issuer}`,
    'ASB_K8S_PUBLIC_KEY_FILE=.dev/workloads.pub.pem',
  ].join('\n'),
);
console.log(await cluster.projectedToken({ namespace, serviceAccount }));
