import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { type HttpStandIn, startHttpStandIn } from './http-stand-in.ts';

/** The `status` of a TokenReview, as the API server fills it in. */
export interface ReviewStatus {
  authenticated?: unknown;
  audiences?: unknown;
  user?: unknown;
  error?: unknown;
}

export interface KubernetesStandIn extends HttpStandIn {
  /** What it answers from now on, or how it fails to. */
  answer: ReviewStatus | ((response: ServerResponse) => void);
  /** The bearer token and the body of each review so far. */
  reviews: { authorization: string | undefined; body: unknown }[];
}

export const POD_UID = '0d8b260e-ef0e-45fb-be8e-ff44f97722e8';

/** A token of a pod that runs: what the API server says of tokens by `projectedClaims`. */
export const RUNNING_POD: ReviewStatus = {
  authenticated: true,
  audiences: ['asb-control-plane'],
  user: {
    username: 'system:serviceaccount:agents:runner',
    uid: 'e6a8680e-d103-4cce-80ea-03acbbeacf7d',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:agents', 'system:authenticated'],
    extra: {
      'authentication.kubernetes.io/credential-id': ['JTI=5b6e9c1f-6a0f-4a53-9f0f-7c3a5f9f3f52'],
      'authentication.kubernetes.io/pod-name': ['runner-7d4b9'],
      'authentication.kubernetes.io/pod-uid': [POD_UID],
    },
  },
};

/** A token whose pod was deleted. */
export const DELETED_POD: ReviewStatus = {
  user: {},
  error: '[invalid bearer token, service account token has been invalidated]',
};

/** An API server that reviews tokens, and does nothing else. */
export async function startKubernetesStandIn(): Promise<KubernetesStandIn> {
  const reviews: KubernetesStandIn['reviews'] = [];
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const body: unknown = JSON.parse(await text(request));
    reviews.push({ authorization: request.headers.authorization, body });
    const { answer } = standIn;
    if (typeof answer === 'function') {
      answer(response);
      return;
    }
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {}, status: answer };
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(review));
  };
  const server = await startHttpStandIn((request, response) => void respond(request, response));
  const standIn: KubernetesStandIn = { ...server, reviews, answer: RUNNING_POD };
  return standIn;
}
