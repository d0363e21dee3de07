"""The method, pure: steps, error kinds, prompts, screening, proof, answers, pairs, funnel.

Knows no database, queue, web framework or torch. Source: Xu et al., arXiv 2410.06638 ("RISE"), and docs/method.md.
"""
