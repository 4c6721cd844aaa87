"""Compositions of a batch, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.models.steps.batch import Batch, Part, check_batch, parse_batch
from algorithms.models.text import load_model
from hwmodels.reading.errors import InputError


def test_parts_are_read_with_their_contexts_and_counts():
    batch = parse_batch("prefill 2048 x1, decode 1 of 8192 x32")
    assert batch.parts == (Part("prefill", 2048, 2048), Part("decode", 1, 8192, 32))
    assert batch.made == 33


@given(
    st.lists(
        st.builds(
            lambda kind, new, more, sequences: Part(kind, new, new + more, sequences),
            st.sampled_from(["prefill", "decode", "extend"]),
            st.integers(1, 10**6),
            st.integers(0, 10**6),
            st.integers(1, 10**4),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_printed_is_read_back(parts):
    batch = Batch(tuple(parts))
    assert parse_batch(str(batch)) == batch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefil 20", "unknown kind of part 'prefil'; did you mean 'prefill'?"),
        ("decode", "'decode' is no part"),
        ("decode 5 of 3", "attends to 3 tokens, fewer than the 5 new ones"),
        ("decode 0 of 3", "tokens must lie between 1 and"),
        ("decode 1 of 8 x0", "sequences must lie between 1 and"),
        ("", "is no part"),
    ],
)
def test_a_bad_batch_is_one_line(text, message):
    with pytest.raises(InputError) as caught:
        parse_batch(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("llama3-8b", "image 1", "llama3-8b has no encoder for 'image 1 x1'"),
        ("vit-b-16", "decode 1 of 8", "vit-b-16 has no tower of text"),
        ("gpt2", "prefill 2000", "gpt2 knows 1,024 positions"),
    ],
)
def test_a_model_refuses_what_it_cannot_do(model, text, message):
    with pytest.raises(InputError) as caught:
        check_batch(parse_batch(text), load_model(model))
    assert message in str(caught.value)


def test_an_encoder_sees_every_image_by_itself():
    vision = load_model("llava-onevision-7b").tower("vision")
    assert parse_batch("image 3 x2").encoded(vision) == (Part("image", 729, 729, 6),)
    with pytest.raises(InputError, match="needs the tokens of one image"):
        parse_batch("image 1").encoded(load_model("qwen2.5-vl-7b").tower("vision"))


def test_coarser_maps_of_an_image_have_their_share_of_its_places():
    model = load_model("sd1.5-unet")
    known = [parse_batch("image 2 with 77").encoded(tower)[0] for tower in model.towers]
    given = [parse_batch("image 2 of 6144 with 77").encoded(tower)[0] for tower in model.towers]
    assert [part.new for part in known] == [4096, 1024, 256, 64]
    assert [part.new for part in given] == [6144, 1536, 384, 96]
    assert {(part.sequences, part.context) for part in given} == {(2, 77)}
