// For oidc.sh: an authorization server that nobody here wrote (node-oidc-provider), and beside it a small JSON API that
// lets in whoever shows one of its access tokens.
//
//   node oidc.mjs serve AUTH_PORT API_PORT KEYS_DIR     until it is killed
//   node oidc.mjs compare FILE...                       each record of the API is in these NDJSON files, once and exact
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const RECORDS = 2400;
const PAGE = 20;
const TTL = 6; // seconds that an access token lives: less than an export takes
const PAUSE = 50; // milliseconds before each page
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const record = (id) => ({ id, name: `item ${id} "ünï"\n`, price: id * 1.25, tags: [id % 3, `t${id % 7}`], none: null });

async function serve(authPort, apiPort, keys) {
  const { Provider, errors } = await import('oidc-provider');
  const { jwtVerify } = await import('jose');
  const issuer = `http://127.0.0.1:${authPort}`;
  // Every character that VSCHAR allows and an encoding could get wrong.
  const secret = (name) => `s3cret of ${name}:%+&=/`;
  const client = (client_id, token_endpoint_auth_method, ...grant_types) => ({
    client_id, client_secret: secret(client_id), token_endpoint_auth_method, grant_types, redirect_uris: [], response_types: [],
  });
  const provider = new Provider(issuer, {
    clients: [
      client('basic: 1+%', 'client_secret_basic', 'client_credentials'),
      client('post', 'client_secret_post', 'client_credentials'),
      client('service', 'client_secret_basic', JWT_BEARER),
      {
        client_id: 'native', application_type: 'native', token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: ['http://127.0.0.1/callback'],
      },
    ],
    scopes: ['openid', 'offline_access', 'items:read'],
    ttl: { AccessToken: TTL, ClientCredentials: TTL, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
    rotateRefreshToken: true,
    cookies: { keys: ['not-a-secret'] },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: true } },
  });
  const seen = new Set();
  provider.registerGrantType(JWT_BEARER, async (ctx) => {
    const { assertion } = ctx.oidc.params;
    const key = (header) => createPublicKey(readFileSync(`${keys}/${header.alg === 'ES256' ? 'p256' : 'rsa'}.pem`));
    let claims;
    try {
      const options = { issuer: 'service@example', audience: `${issuer}/token`, requiredClaims: ['sub', 'exp', 'jti'] };
      claims = (await jwtVerify(assertion, key, { ...options, algorithms: ['RS256', 'ES256'] })).payload;
    } catch (error) {
      throw new errors.InvalidGrant(error.message);
    }
    if (seen.has(claims.jti)) throw new errors.InvalidGrant('the assertion was used before');
    seen.add(claims.jti);
    const token = new provider.ClientCredentials({ client: ctx.oidc.client });
    ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: token.tokenType };
  }, ['assertion', 'scope']);

  const counts = { unauthorized: 0, refused: [], granted: {} };
  provider.on('grant.success', (ctx) => {
    const name = `${ctx.oidc.client.clientId} ${ctx.oidc.params.grant_type}`;
    counts.granted[name] = (counts.granted[name] ?? 0) + 1;
  });
  provider.on('grant.error', (_, error) => counts.refused.push(`${error.error}: ${error.error_description ?? error.error_detail}`));

  const api = createServer(async (request, response) => {
    const json = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (request.url === '/counts') return json(200, counts);
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
    if (!found || found.isExpired) {
      counts.unauthorized += 1;
      return json(401, { error: 'invalid_token' });
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    const start = Number(new URL(request.url, 'http://x').searchParams.get('cursor') ?? 0);
    const data = Array.from({ length: Math.min(PAGE, RECORDS - start) }, (_, at) => record(start + at));
    const next = start + data.length < RECORDS ? String(start + data.length) : null;
    return json(200, { data, next });
  });
  await new Promise((resolve) => api.listen(apiPort, '127.0.0.1', resolve));
  provider.listen(authPort, '127.0.0.1', () => console.log('ready'));
}

function compare(files) {
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(Boolean));
  const wrong = lines.findIndex((line, at) => JSON.stringify(JSON.parse(line)) !== JSON.stringify(record(at)));
  if (lines.length !== RECORDS || wrong >= 0) {
    console.error(`${lines.length} records, ${RECORDS} expected; the first that differs: ${lines[wrong]}`);
    process.exit(1);
  }
  console.log(`${lines.length} records, each exactly as the API has it`);
}

const [what, ...rest] = process.argv.slice(2);
if (what === 'compare') compare(rest);
else await serve(Number(rest[0]), Number(rest[1]), rest[2]);
