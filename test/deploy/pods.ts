import { existsSync } from 'node:fs';
import { CronJob } from 'kubernetes-models/batch/v1/CronJob';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { Manifest } from './manifests.ts';

/** The pods that one manifest makes. */
export interface Pod {
  /** As in `Deployment/asb-api`. */
  name: string;
  kind: 'Deployment' | 'Job' | 'CronJob';
  labels: Readonly<Record<string, string>>;
  spec: IPodSpec;
}

export function podsOf(manifests: readonly Manifest[]): Pod[] {
  return manifests.flatMap(({ object }) => {
    const template = templateOf(object);
    return template === null ? [] : [template];
  });
}

function templateOf(object: unknown): Pod | null {
  if (Deployment.is(object)) return podOf('Deployment', object.metadata?.name, object.spec?.template);
  if (Job.is(object)) return podOf('Job', object.metadata?.name, object.spec?.template);
  if (CronJob.is(object)) return podOf('CronJob', object.metadata?.name, object.spec.jobTemplate.spec?.template);
  return null;
}

interface Template {
  metadata?: { labels?: Record<string, string> };
  spec?: IPodSpec;
}

const podOf = (kind: Pod['kind'], name = '?', template?: Template): Pod => ({
  name: `${kind}/${name}`,
  kind,
  labels: template?.metadata?.labels ?? {},
  spec: template?.spec ?? { containers: [] },
});

export const containersOf = ({ spec }: Pod): readonly IContainer[] => [...(spec.initContainers ?? []), ...spec.containers];

/** A rule that every container keeps, with what is wrong in one that does not; null where nothing is. */
type ContainerRule = (container: IContainer, pod: Pod) => string | null;

const complainUnless = (kept: boolean, complaint: string): string | null => (kept ? null : complaint);

const CONTAINER_RULES: readonly ContainerRule[] = [
  ({ securityContext: own }, { spec: { securityContext: shared } }) =>
    complainUnless(
      (own?.runAsNonRoot ?? shared?.runAsNonRoot) === true && (own?.runAsUser ?? shared?.runAsUser ?? 0) > 0,
      'may run as root',
    ),
  ({ securityContext }) => complainUnless(securityContext?.readOnlyRootFilesystem === true, 'may write its own image'),
  ({ securityContext }) =>
    complainUnless(
      securityContext?.allowPrivilegeEscalation === false && securityContext.privileged !== true,
      'may gain privileges',
    ),
  ({ securityContext }) => {
    const { add = [], drop = [] } = securityContext?.capabilities ?? {};
    return complainUnless(drop.includes('ALL') && add.length === 0, 'keeps capabilities');
  },
  ({ securityContext: own }, { spec: { securityContext: shared } }) =>
    complainUnless((own?.seccompProfile ?? shared?.seccompProfile)?.type === 'RuntimeDefault', 'runs without seccomp'),
  ({ resources }) =>
    complainUnless(
      resources?.requests?.cpu !== undefined &&
        resources.requests.memory !== undefined &&
        resources.limits?.memory !== undefined,
      'asks for no resources, or for memory without end',
    ),
  ({ env = [] }) => {
    const open = env.find(({ name, value }) => isSecretName(name) && value !== undefined);
    return complainUnless(open === undefined, `has ${open?.name ?? ''} in the clear`);
  },
  ({ command = [] }) => {
    const script = command.find((word) => word.startsWith('src/'));
    return complainUnless(
      script === undefined || existsSync(new URL(`../../${script}`, import.meta.url)),
      `runs ${script ?? ''}, which does not exist`,
    );
  },
];

/** A variable that holds a secret itself, and not the file of one. */
export const isSecretName = (name: string): boolean => /(TOKEN|PASSWORD|DSN|SECRET)$/.test(name);

/** A rule that a whole pod keeps. */
type PodRule = (pod: Pod) => string | null;

const POD_RULES: readonly PodRule[] = [
  ({ spec }) => complainUnless(spec.automountServiceAccountToken === false, 'gets a token that it may not need'),
  ({ spec }) => complainUnless((spec.serviceAccountName ?? 'default') !== 'default', 'has no service account of its own'),
  ({ spec }) =>
    complainUnless(
      spec.hostNetwork !== true && spec.hostPID !== true && spec.hostIPC !== true,
      'shares namespaces of its node',
    ),
  ({ spec }) =>
    complainUnless(
      !(spec.volumes ?? []).some(({ hostPath }) => hostPath !== undefined),
      'reaches into the disk of its node',
    ),
  (pod) => {
    const mounted = containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name));
    const named = (pod.spec.volumes ?? []).map(({ name }) => name);
    const missing = [...mounted.filter((name) => !named.includes(name)), ...named.filter((name) => !mounted.includes(name))];
    return complainUnless(missing.length === 0, `mounts or names ${missing.join(', ')}, and not both`);
  },
  ({ kind, spec }) => {
    const probed = spec.containers.every(
      ({ startupProbe, livenessProbe, readinessProbe }) =>
        startupProbe?.httpGet?.path === '/healthz' &&
        livenessProbe?.httpGet?.path === '/healthz' &&
        readinessProbe?.httpGet?.path === '/readyz',
    );
    return complainUnless(kind !== 'Deployment' || probed, 'is not asked how it is, or asked the wrong thing');
  },
];

/** What is wrong with pods, each as `Deployment/asb-api, api: may run as root`. */
export function podProblems(pods: readonly Pod[]): string[] {
  return pods.flatMap((pod) => [
    ...POD_RULES.map((rule) => rule(pod))
      .filter((problem) => problem !== null)
      .map((problem) => `${pod.name}: ${problem}`),
    ...containersOf(pod).flatMap((container) =>
      CONTAINER_RULES.map((rule) => rule(container, pod))
        .filter((problem) => problem !== null)
        .map((problem) => `${pod.name}, ${container.name}: ${problem}`),
    ),
  ]);
}
