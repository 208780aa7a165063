// Every call of Cloudflare's TypeScript SDK to Logpush, against a jobs API.
// Arguments: base URL (…/client/v4), a token with all rights, a file:// destination that may be written to.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const Cloudflare = require('cloudflare');

const [base, token, destination] = process.argv.slice(2);
const filter = '{"where":{"key":"EdgeResponseStatus","operator":"geq","value":500}}';
const client = new Cloudflare({ apiToken: token, baseURL: base, maxRetries: 0 });
const { logpush } = client;

/** A call must end with this HTTP status and code. */
async function refused(status, code, call) {
  let error;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof Cloudflare.APIError, `${code} was expected, not ${error}`);
  assert.equal(error.status, status);
  assert.equal(error.errors[0].code, code);
  return error;
}

/** All items of a page. */
async function all(page) {
  const items = [];
  for await (const item of page) items.push(item);
  return items;
}

/** Create, read, change, list, delete. */
async function lifeOfAJob(scope) {
  const made = await logpush.jobs.create({
    ...scope,
    destination_conf: destination,
    dataset: 'http_requests',
    enabled: false,
    name: 'sdk.typescript',
    filter,
    kind: '',
    frequency: 'low',
    max_upload_bytes: 5000000,
    max_upload_records: 1000,
    max_upload_interval_seconds: 30,
    output_options: { field_names: ['ClientIP', 'RayID'], timestamp_format: 'unix', 'CVE-2021-44228': true },
  });
  assert.equal(made.name, 'sdk.typescript');
  assert.equal(made.filter, filter);
  assert.deepEqual(made.output_options.field_names, ['ClientIP', 'RayID']);
  assert.deepEqual([made.last_complete, made.last_error, made.error_message], [null, null, null]);
  assert.deepEqual(await logpush.jobs.get(made.id, scope), made);
  const changed = await logpush.jobs.update(made.id, { ...scope, enabled: true });
  assert.deepEqual(changed, { ...made, enabled: true, version: made.version + 1 });
  const moved = await logpush.jobs.update(made.id, { ...scope, destination_conf: `${destination}/b`, frequency: null });
  assert.equal(moved.frequency, undefined);
  for (const page of [logpush.jobs.list(scope), logpush.datasets.jobs.get('http_requests', scope)]) {
    assert.ok((await all(page)).some((job) => job.id === made.id));
  }
  const there = await logpush.validate.destinationExists({ ...scope, destination_conf: `${destination}/b` });
  assert.equal(there.exists, true);
  await refused(400, 1008, () => logpush.jobs.update(made.id, { ...scope, kind: 'edge' }));
  assert.deepEqual(await logpush.jobs.delete(made.id, scope), { id: made.id });
  await refused(404, 1006, () => logpush.jobs.get(made.id, scope));
}

/** Fields, validation, ownership. */
async function tries(scope) {
  const fields = await logpush.datasets.fields.get('http_requests', scope);
  assert.equal(typeof fields.ClientRequestHost, 'string');
  const good = await logpush.validate.destination({ ...scope, destination_conf: destination });
  assert.deepEqual(good, { valid: true, message: '' });
  const bad = await logpush.validate.destination({ ...scope, destination_conf: 'nonsense' });
  assert.equal(bad.valid, false);
  const nobody = await logpush.validate.destinationExists({ ...scope, destination_conf: `${destination}/nobody` });
  assert.equal(nobody.exists, false);
  const origin = await logpush.validate.origin({ ...scope, logpull_options: 'fields=RayID&timestamps=rfc3339' });
  assert.equal(origin.valid, true);
  const sent = await logpush.ownership.create({ ...scope, destination_conf: destination });
  assert.equal(sent.valid, true);
  const proof = { ...scope, destination_conf: destination, ownership_challenge: fs.readFileSync(`/${sent.filename}`, 'utf8') };
  assert.deepEqual(await logpush.ownership.validate(proof), { valid: true });
  const wrong = { ...proof, ownership_challenge: `${proof.ownership_challenge}x` };
  assert.deepEqual(await logpush.ownership.validate(wrong), { valid: false });
  const made = await logpush.jobs.create(proof);
  await logpush.jobs.delete(made.id, scope);
  await refused(400, 1002, () => logpush.jobs.create(wrong));
}

/** What is refused, and who is. */
async function mistakes(scope) {
  const error = await refused(400, 1001, () => logpush.jobs.create({ ...scope, destination_conf: '', name: 'a_b' }));
  assert.equal(error.errors.length, 2);
  const nobody = new Cloudflare({ apiToken: 'nobody', baseURL: base, maxRetries: 0 });
  await refused(401, 10000, () => nobody.logpush.jobs.list(scope));
  await refused(404, 1003, () => logpush.datasets.fields.get('dns_logs', scope));
  const old = new Cloudflare({ apiToken: null, apiEmail: 'a@example.com', apiKey: token, baseURL: base, maxRetries: 0 });
  await all(old.logpush.jobs.list(scope));
}

(async () => {
  const scopes = [{ zone_id: '023e105f4ecef8ad9ca31a8372d0c353' }, { account_id: '9a7806061c88ada191ed06f989cc3dac' }];
  for (const scope of scopes) {
    await lifeOfAJob(scope);
    await tries(scope);
    await mistakes(scope);
  }
  console.log('passed: cloudflare for TypeScript');
})().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
