/** The process: `node forwarder-process.js --socket …`. */
import { main } from './forwarder-main.ts';

await main(process.argv.slice(2));
