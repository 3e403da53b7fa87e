// Serves the NocoDB of an npm folder on loopback: node nocodb_server.js FOLDER PORT
'use strict';
const path = require('node:path');
const { createRequire } = require('node:module');

const [folder, port] = process.argv.slice(2);
const requireFrom = createRequire(path.join(folder, 'package.json'));
const express = requireFrom('express');
const nocodb = requireFrom('nocodb');
const Noco = nocodb.Noco ?? nocodb.default;

// NocoDB keeps timers and connections open for ever: leave at once, SQLite is crash safe.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

const app = express();
const server = app.listen(Number(port), '127.0.0.1', async () => {
  try {
    app.use(await Noco.init({}, server, app));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
});
