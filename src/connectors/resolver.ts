import type { Connector, ConnectorResolver, FormConnector, LeaseConnector } from '../domain/connector.ts';
import { isFormConnector, isLeaseConnector, isProxyConnector } from './connector-kinds.ts';
import type { ResourceKind } from '../domain/resource.ts';

/**
 * Finds connectors in a fixed list. Throws when two of them serve the same capability on the same kind of resource, when two that
 * issue leases have one name, or when two fill forms of one kind of resource.
 */
export function makeStaticResolver(connectors: readonly Connector[]): ConnectorResolver {
  const served = new Map<string, Connector>();
  for (const connector of connectors) {
    for (const capability of connector.capabilities) {
      const key = keyOf(capability, connector.resourceKind);
      const other = served.get(key);
      if (other !== undefined) {
        throw new Error(
          `connectors ${other.name} and ${connector.name} both serve ${capability} on ${connector.resourceKind}`,
        );
      }
      served.set(key, connector);
    }
  }
  const leasing = new Map<string, LeaseConnector>();
  for (const connector of connectors.filter(isLeaseConnector)) {
    // What was issued is revoked by the connector of that name, so it must be one.
    if (leasing.has(connector.name)) throw new Error(`two connectors are called ${connector.name}`);
    leasing.set(connector.name, connector);
  }
  const filling = new Map<ResourceKind, FormConnector>();
  for (const connector of connectors.filter(isFormConnector)) {
    // A relay names its origin and no capability.
    const other = filling.get(connector.resourceKind);
    if (other !== undefined) {
      throw new Error(`connectors ${other.name} and ${connector.name} both fill forms of ${connector.resourceKind}`);
    }
    filling.set(connector.resourceKind, connector);
  }
  const resolve = (capability: string, resourceKind: ResourceKind): Connector | null =>
    served.get(keyOf(capability, resourceKind)) ?? null;
  return {
    resolve,
    resolveProxy(capability, resourceKind) {
      const connector = resolve(capability, resourceKind);
      return connector !== null && isProxyConnector(connector) ? connector : null;
    },
    resolveLease(capability, resourceKind) {
      const connector = resolve(capability, resourceKind);
      return connector !== null && isLeaseConnector(connector) ? connector : null;
    },
    resolveForm(capability, resourceKind) {
      const connector = resolve(capability, resourceKind);
      return connector !== null && isFormConnector(connector) ? connector : null;
    },
    findFormConnector: (resourceKind) => filling.get(resourceKind) ?? null,
    findLeaseConnector: (name) => leasing.get(name) ?? null,
  };
}

function keyOf(capability: string, resourceKind: ResourceKind): string {
  return JSON.stringify([capability, resourceKind]);
}
