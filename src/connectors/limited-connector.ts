import type { Connector, FormConnector, LeaseConnector, ProxyConnector } from '../domain/connector.ts';
import type { CallLimits } from './call-limits.ts';
import { isFormConnector, isLeaseConnector, isProxyConnector } from './connector-kinds.ts';

/** The same connector, whose calls downstream are kept within limits. */
export function limitedConnector(connector: Connector, limits: CallLimits): Connector {
  const { name, resourceKind, capabilities, deliveryModes } = connector;
  return {
    name,
    resourceKind,
    capabilities,
    deliveryModes,
    checkResource: (resource) => connector.checkResource(resource),
    ...(isProxyConnector(connector) && limitedProxy(connector, limits)),
    ...(isLeaseConnector(connector) && limitedLease(connector, limits)),
    ...(isFormConnector(connector) && limitedForm(connector, limits)),
  };
}

const limitedProxy = (connector: ProxyConnector, limits: CallLimits): Pick<ProxyConnector, 'prepare'> => ({
  prepare(request) {
    const call = connector.prepare(request);
    return { send: (options) => limits.run(() => call.send(options)) };
  },
});

const limitedLease = (connector: LeaseConnector, limits: CallLimits): Omit<LeaseConnector, keyof Connector> => ({
  ...(connector.longestLeaseSeconds !== undefined && { longestLeaseSeconds: connector.longestLeaseSeconds }),
  issue: (request) => limits.run(() => connector.issue(request)),
  revoke: (request) => limits.run(() => connector.revoke(request)),
});

const limitedForm = (connector: FormConnector, limits: CallLimits): Omit<FormConnector, keyof Connector> => ({
  formOf: (resource, found) => connector.formOf(resource, found),
  trustsRelayKey: (thumbprint) => connector.trustsRelayKey(thumbprint),
  readFields: (request) => limits.run(() => connector.readFields(request)),
});
