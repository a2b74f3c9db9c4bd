import type { Server } from '../transport/http/server.ts';
import type { ListenAddress } from './variables.ts';

/**
 * Starts to listen and answers the address. Without a host it is every interface: IPv6 and IPv4 together, or IPv4 alone where the
 * machine has no IPv6.
 */
export async function listen(server: Server, { host, port }: ListenAddress): Promise<string> {
  if (host !== '') return addressOf(await server.listen({ host, port }));
  try {
    return addressOf(await server.listen({ host: '::', port }));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')) {
      return addressOf(await server.listen({ host: '0.0.0.0', port }));
    }
    throw error;
  }
}

const addressOf = (url: string): string => new URL(url).host;
