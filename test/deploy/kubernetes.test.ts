import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { Service } from 'kubernetes-models/v1/Service';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import { runConfigCommand } from '../../src/bootstrap/check-config.ts';
import { readEnvironment, unknownVariables } from '../../src/bootstrap/environment.ts';
import { configMapData, environmentOf, openSecrets } from './environments.ts';
import { type Manifest, manifestFiles, parseManifests, readManifests, schemaProblems } from './manifests.ts';
import { containersOf, type Pod, podProblems, podsOf } from './pods.ts';

const FOLDER = new URL('../../deploy/kubernetes/', import.meta.url);
const textOf = (file: string) => readFileSync(new URL(file, FOLDER), 'utf8');

const manifests = readManifests();
const pods = podsOf(manifests);
const objects = manifests.map(({ object }) => object);

/** The manifests, with one text of one file changed. Fails when that text is not there once. */
function changed(file: string, from: string, to: string): Manifest[] {
  const text = textOf(file);
  expect(text.split(from).length, `${file} must hold this text once or more: ${from}`).toBeGreaterThan(1);
  return parseManifests(file, text.replace(from, to));
}

function podNamed(name: string): Pod {
  const pod = pods.find((candidate) => candidate.name === name);
  if (pod === undefined) throw new Error(`there is no ${name}`);
  return pod;
}

/** The container that does the work of a pod, and what it starts with. */
function mainOf(name: string) {
  const pod = podNamed(name);
  const container = pod.spec.containers[0]!;
  return { pod, container, environment: environmentOf(container, manifests) };
}

const SERVERS = ['Deployment/asb-api', 'Deployment/asb-worker'];

describe('what Kubernetes takes', () => {
  test('every manifest is of a known kind, and every field of it known and of its type', () => {
    expect(schemaProblems(manifests)).toEqual([]);
  });

  test('a typo, a wrong type, a missing field and an unknown kind are found', () => {
    const broken = [
      changed('api.yaml', 'livenessProbe:', 'livenesProbe:'),
      changed('api.yaml', 'containerPort: 8080', "containerPort: '8080'"),
      changed('api.yaml', 'maxReplicas: 6', 'maxReplica: 6'),
      changed('worker.yaml', '  selector:\n', '  selectors:\n'),
      changed('worker.yaml', 'kind: Deployment', 'kind: Deploymnt'),
      changed('network-policies.yaml', 'podSelector: {}', 'podSelectors: {}'),
    ].flat();
    expect(schemaProblems(broken)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^api\.yaml: .*'"livenesProbe"' does not exist in type 'IContainer'/),
        expect.stringMatching(/^api\.yaml: .*containerPort must be integer/),
        expect.stringMatching(/^api\.yaml: .*\brequired\b.*maxReplicas/),
        expect.stringMatching(/^worker\.yaml: .*\brequired\b.*selector/),
        expect.stringMatching(/^worker\.yaml: apps\/v1\/Deploymnt is no kind/),
        expect.stringMatching(/^network-policies\.yaml: .*'"podSelectors"' does not exist/),
      ]),
    );
  });

  test('what is in the folder is what the kustomization names', () => {
    const Kustomization = z.strictObject({
      apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
      kind: z.literal('Kustomization'),
      namespace: z.literal('asb'),
      resources: z.array(z.string()),
      labels: z.array(z.strictObject({ pairs: z.record(z.string(), z.string()) })),
      images: z.array(z.strictObject({ name: z.string(), newTag: z.string() })),
    });
    const kustomization = Kustomization.parse(parse(textOf('kustomization.yaml')));
    expect([...kustomization.resources].sort()).toEqual(manifestFiles());
    const images = kustomization.images.map(({ name, newTag }) => `${name}:${newTag}`);
    expect(images).toEqual([`registry.example/asb:${packageJson.version}`]);
    for (const { image } of pods.flatMap(containersOf)) expect(images).toContain(image);
  });
});

describe('how the pods are confined', () => {
  test('every pod and container keeps every rule', () => {
    expect(pods.map(({ name }) => name)).toEqual(expect.arrayContaining([...SERVERS, 'Job/asb-migrate']));
    expect(podProblems(pods)).toEqual([]);
  });

  test.each<[from: string, to: string, problem: string]>([
    ['runAsNonRoot: true', 'runAsNonRoot: false', 'api: may run as root'],
    ['runAsUser: 1000', 'runAsUser: 0', 'api: may run as root'],
    ['readOnlyRootFilesystem: true', 'readOnlyRootFilesystem: false', 'keys: may write its own image'],
    ['allowPrivilegeEscalation: false', 'allowPrivilegeEscalation: true', 'keys: may gain privileges'],
    ['drop: [ALL]', 'drop: [NET_RAW]', 'keys: keeps capabilities'],
    ['drop: [ALL]', 'drop: [ALL]\n              add: [SYS_PTRACE]', 'keys: keeps capabilities'],
    ['type: RuntimeDefault', 'type: Unconfined', 'api: runs without seccomp'],
    ['limits: { memory: 768Mi }', 'limits: { cpu: 1 }', 'api: asks for no resources, or for memory without end'],
    [
      'secretKeyRef: { name: asb-redis, key: password }',
      'configMapKeyRef: { name: x, key: y }\n              value: hunter2',
      'api: has ASB_REDIS_PASSWORD in the clear',
    ],
    [
      'automountServiceAccountToken: false',
      'automountServiceAccountToken: true',
      'asb-api: gets a token that it may not need',
    ],
    ['serviceAccountName: asb-api', 'serviceAccountName: default', 'asb-api: has no service account of its own'],
    ['enableServiceLinks: false', 'hostNetwork: true', 'asb-api: shares namespaces of its node'],
    ['emptyDir: { sizeLimit: 64Mi }', 'hostPath: { path: /tmp }', 'asb-api: reaches into the disk of its node'],
    [
      '- { name: tmp, mountPath: /tmp }',
      '- { name: temp, mountPath: /tmp }',
      'asb-api: mounts or names temp, tmp, and not both',
    ],
    ['path: /readyz', 'path: /healthz', 'asb-api: is not asked how it is, or asked the wrong thing'],
  ])('%s → %s is found', (from, to, problem) => {
    const found = podProblems(podsOf(changed('api.yaml', from, to)));
    expect(found).toEqual(expect.arrayContaining([expect.stringMatching(new RegExp(`${problem}$`))]));
  });

  test('a command that is not there is found', () => {
    const pods = podsOf(changed('worker.yaml', 'src/main/worker.ts', 'src/main/wroker.ts'));
    expect(podProblems(pods)).toContain('Deployment/asb-worker, worker: runs src/main/wroker.ts, which does not exist');
  });

  test('no manifest holds a secret', () => {
    expect(objects).not.toContainEqual(expect.objectContaining({ kind: 'Secret' }));
    expect(openSecrets(configMapData(manifests, 'asb-environment'))).toEqual([]);
  });

  test('the namespace lets nothing less confined start', () => {
    const namespace = z.looseObject({
      kind: z.literal('Namespace'),
      metadata: z.looseObject({ labels: z.looseObject({}) }),
    });
    const labels = objects.flatMap((object) => namespace.safeParse(object).data?.metadata.labels ?? []);
    expect(labels).toEqual([expect.objectContaining({ 'pod-security.kubernetes.io/enforce': 'restricted' })]);
  });
});

describe('what the processes start with', () => {
  test.each(SERVERS)('%s: its environment is one that it starts with, and every variable means something', (name) => {
    const { environment } = mainOf(name);
    expect(readEnvironment(environment).problems).toEqual([]);
    expect(unknownVariables(environment)).toEqual([]);
    expect(environment).not.toHaveProperty('ASB_AUDIT_FILE');
  });

  test('only the worker has the key that signs the audit chain, and no token of GitHub', () => {
    const holders = pods.filter((pod) => JSON.stringify(pod.spec).includes('audit-signing.pem')).map(({ name }) => name);
    expect(holders).toEqual(['Deployment/asb-worker']);
    expect(mainOf('Deployment/asb-worker').environment).not.toHaveProperty('ASB_GITHUB_TOKEN');
  });

  test.each(SERVERS)(
    '%s: every file that its environment names is mounted, and every key copied for its user alone',
    (name) => {
      const { pod, container, environment } = mainOf(name);
      const { command = [] } = pod.spec.initContainers?.[0] ?? {};
      expect(command).toEqual(expect.arrayContaining(['install', '--mode=0600', '--target-directory=/run/asb/keys']));
      const copied = command
        .filter((word) => word.startsWith('/'))
        .map((path) => `/run/asb/keys/${path.split('/').at(-1) ?? ''}`);
      const mounts = (container.volumeMounts ?? []).map(({ mountPath }) => `${mountPath}/`);
      for (const [variable, path] of Object.entries(environment)) {
        if (!variable.endsWith('_FILE')) continue;
        expect(
          mounts.some((mount) => path.startsWith(mount)),
          `${variable}=${path}`,
        ).toBe(true);
        if (path.startsWith('/run/asb/keys/')) expect(copied).toContain(path);
      }
      expect(copied).toContain(environment.ASB_KEK_FILE);
    },
  );

  test('the configuration file is valid', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'asb-deploy-'));
    try {
      const file = join(folder, 'asb.yaml');
      writeFileSync(file, configMapData(manifests, 'asb-config')['asb.yaml'] ?? '');
      let complaints = '';
      const output = { stdout: () => undefined, stderr: (text: string) => void (complaints += text) };
      const code = await runConfigCommand(['check', '--skip-files', file], {}, output);
      expect({ code, complaints }).toEqual({ code: 0, complaints: '' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('the API has the time that it takes to stop', () => {
    const { pod, environment } = mainOf('Deployment/asb-api');
    const { ASB_SHUTDOWN_NOTICE_SECONDS: notice = '5', ASB_SHUTDOWN_GRACE_SECONDS: grace = '25' } = environment;
    expect(pod.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(Number(notice) + Number(grace) + 5);
    const { periodSeconds = 10, failureThreshold = 3 } = pod.spec.containers[0]!.readinessProbe ?? {};
    expect(Number(notice)).toBeGreaterThanOrEqual(periodSeconds * failureThreshold);
  });

  test('their pools together fit the 100 connections of a Postgres as it comes', () => {
    const autoscaler = objects.find((object) => HorizontalPodAutoscaler.is(object));
    const pool = (name: string) => Number(mainOf(name).environment.ASB_POSTGRES_MAX_CONNECTIONS);
    const workers = objects
      .filter((object) => Deployment.is(object))
      .find(({ metadata }) => metadata?.name === 'asb-worker');
    // One more of each while they are replaced, and a few that Postgres keeps for superusers, and for the jobs.
    const api = ((autoscaler?.spec.maxReplicas ?? Infinity) + 1) * pool('Deployment/asb-api');
    const worker = ((workers?.spec?.replicas ?? Infinity) + 1) * pool('Deployment/asb-worker');
    expect(api + worker).toBeLessThanOrEqual(100 - 3 - 5);
  });
});

describe('what belongs together', () => {
  const matches = (labels: Readonly<Record<string, string>>, selector: Readonly<Record<string, string>> | undefined) =>
    selector !== undefined && Object.entries(selector).every(([name, value]) => labels[name] === value);
  const selected = (selector: Readonly<Record<string, string>> | undefined) =>
    pods.filter(({ labels }) => matches(labels, selector)).map(({ name }) => name);

  test('services, budgets, autoscalers and deployments select the pods that they are for', () => {
    const services = objects.filter((object) => Service.is(object));
    expect(services.map(({ spec }) => selected(spec?.selector))).toEqual([['Deployment/asb-api']]);
    const budgets = objects.filter((object) => PodDisruptionBudget.is(object));
    expect(budgets.map(({ spec }) => selected(spec?.selector?.matchLabels)).sort()).toEqual(SERVERS.map((name) => [name]));
    const targets = objects.filter((object) => HorizontalPodAutoscaler.is(object)).map(({ spec }) => spec.scaleTargetRef);
    expect(targets.map(({ kind, name }) => `${kind}/${name}`)).toEqual(['Deployment/asb-api']);
    for (const { metadata, spec } of objects.filter((object) => Deployment.is(object))) {
      expect(selected(spec?.selector.matchLabels)).toEqual([`Deployment/${metadata?.name ?? ''}`]);
    }
  });

  test('what replaces pods replaces none before another is ready, and a budget keeps all but one', () => {
    for (const { spec } of objects.filter((object) => Deployment.is(object))) {
      expect(spec?.strategy?.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    }
    for (const { spec } of objects.filter((object) => PodDisruptionBudget.is(object))) expect(spec?.maxUnavailable).toBe(1);
  });

  test('the network is closed for every pod, both ways, before anything is opened', () => {
    const policies = objects.filter((object) => NetworkPolicy.is(object));
    const closed = policies.filter(({ spec }) => spec?.ingress === undefined && spec?.egress === undefined);
    expect(closed.map(({ spec }) => spec)).toEqual([{ podSelector: {}, policyTypes: ['Ingress', 'Egress'] }]);
    const outside = policies.flatMap(({ spec }) => spec?.egress ?? []).flatMap(({ to = [] }) => to);
    const everywhere = outside.map(({ ipBlock }) => ipBlock).filter((block) => block?.cidr === '0.0.0.0/0');
    // Of a cloud's metadata, and of private networks.
    for (const block of everywhere) expect(block?.except).toEqual(expect.arrayContaining(['169.254.0.0/16', '10.0.0.0/8']));
    // A rule without peers lets everybody through.
    const rules = policies.flatMap(({ spec }) => [
      ...(spec?.ingress ?? []).map(({ from }) => from),
      ...(spec?.egress ?? []).map(({ to }) => to),
    ]);
    for (const peers of rules) expect(peers?.length ?? 0).toBeGreaterThan(0);
  });

  test('what is mounted or read and is not made here is in the list of what to create', () => {
    const readme = textOf('README.md');
    const made = new Set(objects.map((object) => nameOf(object)));
    const named = pods.flatMap((pod) => references(pod));
    expect(named.length).toBeGreaterThan(5);
    for (const name of named) {
      if (!made.has(name)) expect(readme, `README.md must say how to create ${name}`).toContain(`\`${name}\``);
    }
  });
});

const Named = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });
const nameOf = (object: unknown): string => Named.parse(object).metadata.name;

/** Names of the ConfigMaps and Secrets that a pod needs to start. Every namespace has kube-root-ca.crt. */
function references(pod: Pod): string[] {
  const volumes = (pod.spec.volumes ?? []).flatMap(({ secret, configMap, projected }) => [
    secret?.secretName,
    configMap?.name,
    ...(projected?.sources ?? []).flatMap((source) => [source.secret?.name, source.configMap?.name]),
  ]);
  const variables = containersOf(pod).flatMap(({ env = [], envFrom = [] }) => [
    ...env.map(({ valueFrom }) => valueFrom?.secretKeyRef?.name),
    ...envFrom.map(({ configMapRef }) => configMapRef?.name),
  ]);
  return [...volumes, ...variables].filter((name) => name !== undefined).filter((name) => name !== 'kube-root-ca.crt');
}
