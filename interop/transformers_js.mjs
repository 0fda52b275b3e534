// Opens a bundle with transformers.js: `node transformers_js.mjs BUNDLE < request.json`; see compare.py.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { env, pipeline } from '@huggingface/transformers';

const bundle = path.resolve(process.argv[2]);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(bundle);

const { texts, normalize } = JSON.parse(readFileSync(0, 'utf8'));
const embed = await pipeline('feature-extraction', path.basename(bundle), { dtype: 'fp32', device: 'cpu' });
const embeddings = await embed(texts, { pooling: 'mean', normalize });

const runtime = createRequire(import.meta.url)('onnxruntime-node/package.json').version;
const tool = `transformers.js ${env.version}, onnxruntime-node ${runtime}`;
console.log(JSON.stringify({ tool, answers: embeddings.tolist() }));
