// Loaded into an importer that knows no address but Mixpanel's: every TLS connection goes to the benchmark's server.
// Its certificate is checked (NODE_EXTRA_CA_CERTS), but for the name.
const tls = require('node:tls');

const connect = tls.connect;
const here = { host: '127.0.0.1', port: Number(process.env.BENCHMARK_PORT), checkServerIdentity: () => undefined };
tls.connect = (options, ...rest) => connect({ ...options, ...here }, ...rest);
