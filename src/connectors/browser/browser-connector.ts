import type { FormConnector, FormInput, SecretField } from '../../domain/connector.ts';
import { invalidRequest, notFound } from '../../domain/errors.ts';
import type { ResourceRef } from '../../domain/resource.ts';
import type { CredentialSource } from './credential-source.ts';
import { originProblem } from './origin.ts';
import { selectorProblem } from './selector.ts';

/** A form on the pages of one origin. */
export interface BrowserForm {
  /** As browsers write it; compared letter for letter. */
  origin: string;
  inputs: readonly {
    name: string;
    /** Null leaves it to the relay. */
    selector: string | null;
  }[];
  source: CredentialSource;
}

export interface BrowserConnectorConfig {
  capabilities: readonly string[];
  forms: readonly BrowserForm[];
  /** Whether `http://localhost` may be filled as well. */
  allowInsecureLocalhost: boolean;
  /** Thumbprints (RFC 7638) of the keys of relays; null trusts whichever a session registers. */
  trustedRelayKeys: ReadonlySet<string> | null;
}

export const BROWSER = 'browser';

/**
 * Fills forms in a browser, through an extension that waits there. Throws an Error for an origin, a selector or a form that cannot be used.
 */
export function makeBrowserConnector(config: BrowserConnectorConfig): FormConnector {
  const forms = new Map(config.forms.map((form) => [form.origin, form]));
  if (forms.size < config.forms.length) throw new Error('two forms are for one origin');
  for (const form of config.forms) requireUsable(form, config.allowInsecureLocalhost);
  /** `field` is the one in which the caller named it. */
  const formAt = ({ name }: ResourceRef, field: 'resource_ref' | 'origin'): BrowserForm => {
    const problem = originProblem(name, config.allowInsecureLocalhost);
    if (problem !== null) throw invalidRequest(`${field}: ${problem}`);
    const form = forms.get(name);
    if (form === undefined) throw notFound(`${field}: no form is configured at this origin`);
    return form;
  };
  return {
    name: BROWSER,
    resourceKind: 'browser_origin',
    capabilities: config.capabilities,
    deliveryModes: ['wrapped_secret'],
    checkResource: (resource) => void formAt(resource, 'resource_ref'),
    formOf: (resource, found) => laidOut(formAt(resource, 'origin'), found),
    trustsRelayKey: (thumbprint) =>
      config.trustedRelayKeys === null || (thumbprint !== null && config.trustedRelayKeys.has(thumbprint)),
    readFields({ resource, signal }): Promise<readonly SecretField[]> {
      return formAt(resource, 'resource_ref').source.read(signal);
    },
  };
}

function requireUsable({ origin, inputs }: BrowserForm, allowInsecureLocalhost: boolean): void {
  const problem = originProblem(origin, allowInsecureLocalhost);
  if (problem !== null) throw new Error(`origin ${origin}: ${problem}`);
  if (inputs.length === 0) throw new Error(`origin ${origin}: a form needs an input at least`);
  if (new Set(inputs.map(({ name }) => name)).size < inputs.length) {
    throw new Error(`origin ${origin}: two inputs have one name`);
  }
  for (const { name, selector } of inputs) {
    const wrong = selector === null ? null : selectorProblem(selector);
    if (wrong !== null) throw new Error(`origin ${origin}: the selector of ${name} ${wrong}`);
  }
}

/** Where the operator says where an input is, a relay cannot say otherwise: a password must not go into a field that shows it. */
function laidOut({ inputs }: BrowserForm, found: Readonly<Record<string, string>>): readonly FormInput[] {
  for (const [name, selector] of Object.entries(found)) {
    if (!inputs.some((input) => input.name === name)) {
      throw invalidRequest(
        `selectors.${name}: the form has ${inputs.map((input) => input.name).join(', ')}, and no such input`,
      );
    }
    const problem = selectorProblem(selector);
    if (problem !== null) throw invalidRequest(`selectors.${name}: ${problem}`);
  }
  return inputs.map(({ name, selector: configured }) => {
    const own = Object.hasOwn(found, name) ? found[name] : undefined;
    if (own !== undefined && configured !== null && own !== configured) {
      throw invalidRequest(`selectors.${name}: the operator has configured another one; leave it out`);
    }
    const selector = configured ?? own;
    if (selector === undefined)
      throw invalidRequest(`selectors.${name}: must be found by the relay, since none is configured`);
    return { name, selector };
  });
}
