import type { Connector, FormConnector, LeaseConnector, ProxyConnector } from '../domain/connector.ts';

export function isProxyConnector(connector: Connector): connector is ProxyConnector {
  return 'prepare' in connector && typeof connector.prepare === 'function';
}

export function isLeaseConnector(connector: Connector): connector is LeaseConnector {
  return (
    'issue' in connector &&
    typeof connector.issue === 'function' &&
    'revoke' in connector &&
    typeof connector.revoke === 'function'
  );
}

export function isFormConnector(connector: Connector): connector is FormConnector {
  return 'readFields' in connector && typeof connector.readFields === 'function';
}
