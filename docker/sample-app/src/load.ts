// Requests of the service to itself, so that a stack without users has something to show.

import { settings } from './settings';

type Target = [weight: number, method: string, path: () => string];

const number = (below: number): number => Math.floor(Math.random() * below);

const TARGETS: Target[] = [
  [500, 'GET', () => '/api/patients'],
  [300, 'GET', () => `/api/patients/${number(1000)}`],
  [120, 'POST', () => '/api/patients'],
  [50, 'GET', () => '/health'],
  [15, 'GET', () => `/api/reports/${number(50)}`],
  [10, 'GET', () => '/api/billing'],
  [1, 'POST', () => '/api/break/exception'],
  [1, 'POST', () => '/api/break/rejection'],
];
const TOTAL = TARGETS.reduce((sum, [weight]) => sum + weight, 0);

function pick(): Target {
  let left = Math.random() * TOTAL;
  return TARGETS.find(([weight]) => (left -= weight) < 0) ?? TARGETS[0];
}

async function request(): Promise<void> {
  const [, method, path] = pick();
  const response = await fetch(`http://127.0.0.1:${settings.port}${path()}`, {
    method,
    headers: { 'x-user-id': `user-${number(200)}`, 'content-type': 'application/json' },
    body: method === 'POST' ? '{"name":"sample"}' : undefined,
  });
  await response.arrayBuffer();
}

// Calls nothing when the rate is 0. A request that fails is the service's to log, not ours.
export function startLoad(): void {
  if (settings.loadRequestsPerSecond > 0) {
    setInterval(() => request().catch(() => undefined), 1000 / settings.loadRequestsPerSecond).unref();
  }
}
