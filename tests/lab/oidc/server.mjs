// An OpenID Connect server on loopback, as an authorization server that behaves: RFC 8414, 7009,
// 7662, 8628, 7591 and 7592, refresh tokens that rotate with reuse detection.
//
//   node server.mjs NODE_MODULES
//
// Prints `ready ISSUER` once it listens on a port that the system chose, and ends when its
// standard input ends, so that no test leaves it behind. Everything in it is made up and in memory.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const home = join(resolve(process.argv[2] ?? 'node_modules'), 'oidc-provider');
const { main } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
const { default: Provider } = await import(pathToFileURL(join(home, main ?? 'lib/index.js')));

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const deviceCode = 'urn:ietf:params:oauth:grant-type:device_code';
const confidential = (client_id, grant_types) => ({
  client_id,
  client_secret: `${client_id}-made-up-secret-of-the-lab`,
  grant_types,
  redirect_uris: [],
  response_types: [],
});

const provider = new Provider(issuer, {
  clients: [
    confidential('mail-agent', ['client_credentials', 'refresh_token', deviceCode]),
    // A desktop application: a browser comes back to it on loopback, on any port (RFC 8252).
    {
      ...confidential('mail-desk', [
        'authorization_code', 'client_credentials', 'refresh_token', deviceCode,
      ]),
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
    },
    // Owns no token that is tested: sees the others' tokens as a resource server would.
    confidential('auditor', ['client_credentials']),
  ],
  cookies: { keys: ['a-made-up-cookie-key-of-the-lab'] },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    registration: { enabled: true, initialAccessToken: 'made-up-initial-access-token' },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
  },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'mail.read'],
});

server.on('request', provider.callback());
// Whoever waited for `ready` may have stopped reading.
process.stdout.on('error', () => {});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(`ready ${issuer}`);
