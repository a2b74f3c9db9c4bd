import { readdirSync, readFileSync } from 'node:fs';
import { runValidateFunc, type ValidateFunc } from '@kubernetes-models/validate';
import { validate as deployment } from 'kubernetes-models/_schemas/IoK8sApiAppsV1Deployment';
import { validate as autoscaler } from 'kubernetes-models/_schemas/IoK8sApiAutoscalingV2HorizontalPodAutoscaler';
import { validate as cronJob } from 'kubernetes-models/_schemas/IoK8sApiBatchV1CronJob';
import { validate as job } from 'kubernetes-models/_schemas/IoK8sApiBatchV1Job';
import { validate as configMap } from 'kubernetes-models/_schemas/IoK8sApiCoreV1ConfigMap';
import { validate as namespace } from 'kubernetes-models/_schemas/IoK8sApiCoreV1Namespace';
import { validate as service } from 'kubernetes-models/_schemas/IoK8sApiCoreV1Service';
import { validate as serviceAccount } from 'kubernetes-models/_schemas/IoK8sApiCoreV1ServiceAccount';
import { validate as networkPolicy } from 'kubernetes-models/_schemas/IoK8sApiNetworkingV1NetworkPolicy';
import { validate as disruptionBudget } from 'kubernetes-models/_schemas/IoK8sApiPolicyV1PodDisruptionBudget';
import { validate as clusterRole } from 'kubernetes-models/_schemas/IoK8sApiRbacV1ClusterRole';
import { validate as clusterRoleBinding } from 'kubernetes-models/_schemas/IoK8sApiRbacV1ClusterRoleBinding';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';

const FOLDER = new URL('../../deploy/kubernetes/', import.meta.url);

/** One object of Kubernetes, and the file that it is in. */
export interface Manifest {
  file: string;
  object: unknown;
}

const Head = z.looseObject({ apiVersion: z.string(), kind: z.string() });

/** As the validators are; their types leave the errors out. */
interface Validator {
  (data: unknown): boolean;
  errors?: ValidateFunc<unknown>['errors'];
}

/** The kinds that are deployed; one that is not here does not pass. */
const VALIDATORS = new Map<string, Validator>([
  ['apps/v1/Deployment', deployment],
  ['autoscaling/v2/HorizontalPodAutoscaler', autoscaler],
  ['batch/v1/CronJob', cronJob],
  ['batch/v1/Job', job],
  ['networking.k8s.io/v1/NetworkPolicy', networkPolicy],
  ['policy/v1/PodDisruptionBudget', disruptionBudget],
  ['rbac.authorization.k8s.io/v1/ClusterRole', clusterRole],
  ['rbac.authorization.k8s.io/v1/ClusterRoleBinding', clusterRoleBinding],
  ['v1/ConfigMap', configMap],
  ['v1/Namespace', namespace],
  ['v1/Service', service],
  ['v1/ServiceAccount', serviceAccount],
]);

/** Every object below deploy/kubernetes/, but the kustomization. */
export function readManifests(): Manifest[] {
  return manifestFiles().flatMap((file) => parseManifests(file, readFileSync(new URL(file, FOLDER), 'utf8')));
}

export const manifestFiles = (): string[] =>
  readdirSync(FOLDER)
    .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .sort();

/** As Kubernetes reads it, which is YAML 1.1: 0440 is octal, and yes is a boolean. Throws on a syntax error. */
export function parseManifests(file: string, text: string): Manifest[] {
  const documents = parseAllDocuments(text, { version: '1.1', merge: false });
  return [...documents].map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return { file, object: document.toJS() as unknown };
  });
}

/** What Kubernetes would refuse: a value of the wrong type, a field that is missing, one that nobody knows. */
export function schemaProblems(manifests: readonly Manifest[]): string[] {
  const known = manifests.filter(({ object }) => VALIDATORS.has(kindOf(object)));
  const unknown = manifests.filter((manifest) => !known.includes(manifest));
  return [
    ...unknown.map(({ file, object }) => `${file}: ${kindOf(object)} is no kind that is known here`),
    ...known.flatMap(valueProblems),
    ...fieldProblems(known),
  ];
}

function kindOf(object: unknown): string {
  const head = Head.safeParse(object);
  return head.success ? `${head.data.apiVersion}/${head.data.kind}` : 'an object without apiVersion or kind';
}

function valueProblems({ file, object }: Manifest): string[] {
  const validate = VALIDATORS.get(kindOf(object));
  if (validate === undefined) return [];
  const guard: ValidateFunc<unknown> = (data): data is unknown => {
    const isValid = validate(data);
    guard.errors = validate.errors ?? null;
    return isValid;
  };
  try {
    // It puts the errors into words.
    runValidateFunc(guard, object);
    return [];
  } catch (error) {
    return [`${file}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** The validators let unknown fields pass. The types made from the same schemas do not, where they check an object that is written out. */
function fieldProblems(manifests: readonly Manifest[]): string[] {
  const lines = manifests.map(({ object }, index) => {
    const kind = kindOf(object);
    const type = `I${kind.slice(kind.lastIndexOf('/') + 1)}`;
    return `export const m${index}: import('kubernetes-models/${kind}').${type} = ${JSON.stringify(object)};`;
  });
  return compile(lines.join('\n')).map(({ line, message }) => `${manifests[line]?.file ?? '?'}: ${message}`);
}

const OPTIONS: ts.CompilerOptions = {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2024,
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
};

/** Checks the types of a module in this folder that is on no disk. */
function compile(source: string): { line: number; message: string }[] {
  const path = new URL('manifests-in-memory.ts', import.meta.url).pathname;
  const host = ts.createCompilerHost(OPTIONS);
  const withIt: ts.CompilerHost = {
    ...host,
    fileExists: (name) => name === path || host.fileExists(name),
    getSourceFile: (name, ...rest) =>
      name === path ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2024) : host.getSourceFile(name, ...rest),
  };
  return ts.getPreEmitDiagnostics(ts.createProgram([path], OPTIONS, withIt)).map(({ file, start, messageText }) => ({
    line: file === undefined || start === undefined ? -1 : file.getLineAndCharacterOfPosition(start).line,
    message: ts.flattenDiagnosticMessageText(messageText, ' '),
  }));
}
