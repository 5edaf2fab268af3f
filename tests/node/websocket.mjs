// @medplum/core expects a WebSocket when it is loaded, which Node has from version 22; it is not used here.
globalThis.WebSocket ??= class {};
